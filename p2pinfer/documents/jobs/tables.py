"""The SQLite file under the store of jobs: one connection that writes, one that reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Self

from p2pinfer.database import Database
from p2pinfer.documents.jobs.rows import is_job_id
from p2pinfer.documents.jobs.schema import JOBS
from p2pinfer.errors import JobError


class Tables:
    """The tables of `schema.py`. Any thread may use them, several at once."""

    def __init__(self, writes: Database, reads: Database, now: Callable[[], float]) -> None:
        """Use `open` instead."""
        self._writes = writes
        self._reads = reads  # so that readers don't wait for the disk
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self.now = now

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], float] = time.time) -> Self:
        """Open the file at `path`, or make it. Raises JobStoreError, which names the file."""
        writes = Database.open(path, JOBS)
        try:
            return cls(writes, Database.open(path, JOBS), now)
        except BaseException:
            writes.close()
            raise

    @property
    def path(self) -> Path:
        """The file."""
        return self._writes.path

    def close(self) -> None:
        """Close the file."""
        with self._write_lock, self._read_lock:
            self._writes.close()
            self._reads.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Write everything in the block to the disk, or nothing if the block raises."""
        with self._write_lock, self._writes.transaction() as connection:
            yield connection

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """What a query finds, which has to be little."""
        with self._read_lock:
            return list(self._reads.rows(query, values))

    def serial(self, job_id: str) -> int:
        """The key of a job in the tables. Raises JobError if there is no such job."""
        rows = self.rows("SELECT serial FROM jobs WHERE id = ?", (job_id,)) if is_job_id(job_id) else []
        if not rows:
            raise no_job(job_id)
        return int(rows[0][0])


def no_job(job_id: str) -> JobError:
    """What is raised for a job that isn't there."""
    return JobError(f"there is no job {job_id!r}")
