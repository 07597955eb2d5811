"""A store of jobs, whose clock stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pinfer.documents.jobs.job_store import JobStore
from tests.documents.some_jobs import NOW


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where there is no store yet, nor its folder."""
    return tmp_path / "data" / "jobs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[JobStore]:
    with JobStore.open(path, now=lambda: NOW) as opened:
        yield opened
