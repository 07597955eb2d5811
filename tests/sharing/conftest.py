"""Fixtures for all tests of sharing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sharing.peers import Peers, some_peers


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[Peers]:
    """Peers that end with the test."""
    async with some_peers(tmp_path) as peers:
        yield peers
