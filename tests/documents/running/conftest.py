"""A store of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pinfer.documents.jobs.job_store import JobStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[JobStore]:
    with JobStore.open(path) as opened:
        yield opened
