"""The file of jobs among processes and threads, and what happens when it can't be read or written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from p2pinfer.documents.jobs.claims import Claims
from p2pinfer.documents.jobs.job import Counts, Spent
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.errors import JobError, JobStoreError
from p2pinfer.owner.ledger.ledger import Ledger
from tests.documents.some_jobs import answer, begun


def test_one_runs_a_job_and_others_hear_who(store: JobStore, path: Path):
    """In the same process as well; when it is released the next one can."""
    job = begun(store, 1)
    with JobStore.open(path) as other:
        with store.claim(job.id, "pid 4711 on car\n\x1b[31m"):
            with pytest.raises(JobError, match="run by pid 4711 on car"):
                other.claim(job.id, "me")
            with pytest.raises(JobError, match="run by pid 4711"):
                other.delete(job.id)
            seen = other.job(job.id)
            assert seen is not None and seen.runner == "pid 4711 on car??[31m"
            assert other.jobs()[0].runner == seen.runner
        with other.claim(job.id, "me") as claim:
            other.delete(job.id, claim=claim)
            assert other.job(job.id) is None
            claim.release()
    assert list((path.parent / "jobs.sqlite-claims").iterdir()) == []


def test_however_many_claim_a_job_one_has_it_at_a_time(tmp_path: Path):
    """Though the file that is locked is removed each time, and others ask who has it."""
    job_id = "batch_" + "0" * 32
    inside, taken, most = 0, 0, 0

    def compete(number: int) -> None:
        nonlocal inside, taken, most
        claims = Claims(tmp_path)
        for _ in range(40):
            claims.holder(job_id)
            with contextlib.suppress(JobError), claims.take(job_id, str(number)):
                inside, taken = inside + 1, taken + 1
                most = max(most, inside)
                assert claims.holder(job_id) == str(number)
                inside -= 1

    with ThreadPoolExecutor(6) as threads:
        for competing in [threads.submit(compete, number) for number in range(6)]:
            competing.result()
    assert most == 1 and taken > 40
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_can_read_it(store: JobStore, path: Path):
    job = begun(store, 1)
    with store.claim(job.id, "me"):
        modes = {file: stat.S_IMODE(file.stat().st_mode) for file in path.parent.rglob("*")}

    assert {mode for file, mode in modes.items() if file.is_file()} == {0o600}
    assert {mode for file, mode in modes.items() if file.is_dir()} == {0o700}


@pytest.mark.skipif(sys.platform == "darwin", reason="its names are Unicode")
@pytest.mark.parametrize("name", [b"\xff\xfe", b"a?b#c%20d", "caf\u00e9 \u2028".encode()])
def test_it_can_lie_under_any_name(tmp_path: Path, name: bytes):
    """Also one that isn't Unicode."""
    path = tmp_path / os.fsdecode(name) / os.fsdecode(name)
    with JobStore.open(path) as store:
        job = begun(store, 1)
    with JobStore.open(path) as store, store.claim(job.id, "me"):
        assert [one.runner for one in store.jobs()] == ["me"]
    assert path.exists()


def test_a_file_of_another_kind_is_left_alone(path: Path):
    """A ledger, a text, a folder."""
    with Ledger.open(path):
        pass
    with pytest.raises(JobStoreError, match="is not a store of jobs"):
        JobStore.open(path)
    path.with_name("text").write_text("jobs\n" * 1000)
    with pytest.raises(JobStoreError, match="is not an SQLite file"):
        JobStore.open(path.with_name("text"))
    with pytest.raises(JobStoreError, match="data"):
        JobStore.open(path.parent)


def test_a_full_disk_is_named_and_nothing_is_half_written(
    store: JobStore, path: Path, monkeypatch: pytest.MonkeyPatch
):
    """SQLite's own limit of pages stands for the disk's."""
    job = begun(store, 3)
    large = replace(answer(0), body={"text": "x" * 1_000_000})
    with store.tables.transaction() as connection:
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(JobStoreError, match=r"full.*check its permissions and the disk"):
        store.finish(job.id, [answer(1), large])

    now = store.job(job.id)
    assert now is not None and now.counts.waiting == 3
    with store.tables.transaction() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    store.finish(job.id, [answer(1), large])


def test_a_damaged_file_is_named_when_it_is_read(store: JobStore, path: Path):
    """It opens at once, however long it is."""
    job = begun(store, 2_000)
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))

    with JobStore.open(path) as damaged, pytest.raises(JobStoreError, match="is damaged"):
        damaged.waiting(job.id, limit=9)


def test_threads_that_finish_the_same_documents_keep_one_outcome_each(store: JobStore, path: Path):
    """Through one store, and through several."""
    job = begun(store, 60)
    with JobStore.open(path) as other, ThreadPoolExecutor(8) as threads:
        for used in (store, other) * 4:
            for first in range(0, 60, 6):
                outcomes = [answer(number) for number in range(first, first + 6)]
                threads.submit(used.finish, job.id, outcomes)

    now = store.job(job.id)
    assert now is not None and now.counts == Counts(total=60, completed=60)
    assert now.spent == Spent(prefill_tokens=420, decode_tokens=180)
    assert len(store.outcomes(job.id, limit=100, errors=False)) == 60


def test_a_claim_on_a_disk_that_can_not_be_written_is_an_error(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(JobStoreError, match="Read-only file system"):
        store.claim("batch_" + "0" * 32, "me")
