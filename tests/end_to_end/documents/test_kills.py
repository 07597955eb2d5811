"""Runs of jobs are killed at random moments: every document is answered once, as without kills."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

from p2pinfer.documents.jobs.job import Counts, Job, JobState
from p2pinfer.documents.jobs.job_store import JobStore
from tests.documents.some_jobs import documents
from tests.processes.line_process import line_process

KILLS = 30
DOCUMENTS = 1_000
JOB_ID = "batch_" + "17" * 16


class Runs:
    """Starts runs one after the other."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self.pid = 0

    def start(self, path: Path, out: Path | str) -> None:
        """Start a run, which begins at once."""
        self._stdin.write(f"{path} {JOB_ID} {out}\n")
        self._stdin.flush()
        name, pid = self._stdout.readline().split()
        assert name == "running"
        self.pid = int(pid)

    def kill(self) -> None:
        """Kill the run; returns when it is gone."""
        with suppress(ProcessLookupError):  # it has come to its end just now
            os.kill(self.pid, signal.SIGKILL)
        while (line := self._stdout.readline().strip()) != "gone":
            assert line

    def ended(self) -> str:
        """Wait until the run has ended, and return what it said."""
        line = self._stdout.readline().strip()
        assert self._stdout.readline().strip() == "gone"
        return line


@contextmanager
def nursery() -> Iterator[Runs]:
    with line_process("tests.end_to_end.documents.job_process") as (stdin, stdout):
        yield Runs(stdin, stdout)


def make(path: Path, count: int = DOCUMENTS) -> None:
    """A job that is begun."""
    with JobStore.open(path) as store:
        store.create(job_id=JOB_ID)
        store.add_documents(JOB_ID, documents(count))
        store.begin(JOB_ID, layers=30)


def job_of(path: Path) -> Job:
    with JobStore.open(path) as store:
        job = store.job(JOB_ID)
        assert job is not None
        return job


def lines_of(out: Path) -> dict[str, bytes]:
    """The lines of answers and errors by custom id; none twice, none torn."""
    found: dict[str, bytes] = {}
    for file in (out, out.with_name(f"{out.name}.errors")):
        data = file.read_bytes()
        assert data.endswith(b"\n")
        for line in data.splitlines():
            custom_id = json.loads(line)["custom_id"]
            assert custom_id not in found
            found[custom_id] = line
    return found


def test_after_thirty_kills_every_document_is_there_once_as_undisturbed(tmp_path: Path):
    """Answers, errors and what they cost, in the store and in both files, byte for byte."""
    choices = random.Random(17)
    undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
    with nursery() as runs:
        for folder in (undisturbed, disturbed):
            make(folder / "jobs.sqlite")
        runs.start(undisturbed / "jobs.sqlite", undisturbed / "out.jsonl")
        assert runs.ended() == "ended completed"

        progress: set[int] = set()
        most_seconds = 0.12
        for _ in range(KILLS):
            runs.start(disturbed / "jobs.sqlite", disturbed / "out.jsonl")
            time.sleep(choices.uniform(0.0, most_seconds))  # somewhere in a write, or between two
            runs.kill()
            job = job_of(disturbed / "jobs.sqlite")
            if job.counts.waiting in progress:
                most_seconds *= 1.3  # a busy machine gets no further in this time
            progress.add(job.counts.waiting)
            if job.state.is_over:
                break
        runs.start(disturbed / "jobs.sqlite", disturbed / "out.jsonl")
        assert runs.ended() == "ended completed"

    assert len(progress) > 5, "the kills came all before the first write, or after the last"
    job, other = job_of(disturbed / "jobs.sqlite"), job_of(undisturbed / "jobs.sqlite")
    assert job.counts == other.counts == Counts(total=DOCUMENTS, completed=800, failed=200)
    assert job.spent == other.spent
    assert lines_of(disturbed / "out.jsonl") == lines_of(undisturbed / "out.jsonl")
    with closing(sqlite3.connect(disturbed / "jobs.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_one_runs_the_job_and_when_it_is_killed_another_can_at_once(tmp_path: Path):
    """The other one hears who runs it; `status` as well."""
    path, out = tmp_path / "jobs.sqlite", tmp_path / "out.jsonl"
    make(path, 20_000)
    with nursery() as first, nursery() as second:
        first.start(path, out)
        while not job_of(path).runner:
            time.sleep(0.01)
        second.start(path, out)
        assert second.ended().startswith(f"refused job {JOB_ID} is run by pid {first.pid} on ")
        assert job_of(path).runner.startswith(f"pid {first.pid} on ")
        first.kill()
        assert job_of(path).runner == ""

        second.start(path, out)
        while not job_of(path).counts.completed:
            time.sleep(0.01)
        with JobStore.open(path) as store:
            assert store.cancel(JOB_ID).state is JobState.CANCELLING
        assert second.ended() == "ended cancelled"

    assert len(lines_of(out)) == 20_000
    assert job_of(path).counts.waiting == 0


def test_a_job_whose_making_was_killed_can_be_deleted_and_made_again(tmp_path: Path):
    """What there is of it is sound, and says how many documents it has."""
    choices = random.Random(18)
    path = tmp_path / "jobs.sqlite"
    with nursery() as runs:
        for _ in range(8):
            runs.start(path, "-")
            time.sleep(choices.uniform(0.0, 0.3))
            runs.kill()
            if not path.exists():  # killed before it was made
                continue
            with JobStore.open(path) as store, closing(sqlite3.connect(path)) as connection:
                job = store.job(JOB_ID)
                if job is None:
                    continue
                assert job.state is JobState.VALIDATING
                for table in ("documents", "waiting"):
                    rows = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
                    assert rows == (job.counts.total,)
                store.delete(JOB_ID)

    make(path, 3)
    assert job_of(path).counts == Counts(total=3)
