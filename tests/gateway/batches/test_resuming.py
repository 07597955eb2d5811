"""A gateway that starts goes on where one was killed, in whichever state a batch was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p2pinfer.documents.files.stored_file import Purpose
from p2pinfer.documents.jobs.job import Document, Job, JobState
from p2pinfer.gateway.access.visitors import ANYBODY
from p2pinfer.gateway.batches.results import ResultFiles
from p2pinfer.gateway.batches.slow_work import Pacing
from p2pinfer.gateway.storage import Storage
from tests.documents.some_jobs import answer
from tests.gateway.asking import asking
from tests.gateway.endpoints.keeping import jsonl, line, results, storing, until_state
from tests.gateway.stand_in import StandInModel
from tests.gateway.test_leaving import until

LINES = [line(number) for number in range(6)]


def left_batch(storage: Storage) -> Job:
    """A batch of six lines, of which nothing has been done yet."""
    with storage.files.incoming() as incoming:
        incoming.write(jsonl(LINES))
        file = storage.files.keep(
            incoming, owner=ANYBODY, purpose=Purpose.BATCH, name="in.jsonl", lasts_seconds=86_400.0
        )
    return storage.jobs.create(
        owner=ANYBODY, url="/v1/chat/completions", input_file=file.id, settings={"model": "tiny"},
        expires_at=storage.jobs.tables.now() + 86_400.0,
    )  # fmt: skip


def documents(count: int) -> list[Document]:
    return [
        Document(number=number, custom_id=one["custom_id"], url=one["url"], body=one["body"])
        for number, one in enumerate(LINES[:count])
    ]


async def ended(
    storage: Storage, job: Job, model: StandInModel
) -> tuple[dict[str, Any], list[str], list[str]]:
    """The batch at its end, and the custom_ids of its answers and errors."""
    async with asking(model, storage=storage) as client:
        batch = await until_state(client, job.id, "completed", "cancelled", "expired", "failed")
        ids = [
            sorted(one["custom_id"] for one in await results(client, file_id)) if file_id else []
            for file_id in (batch["output_file_id"], batch["error_file_id"])
        ]
        await until(lambda: not storage.jobs.tables.rows("SELECT 1 FROM documents LIMIT 1"))
    return batch, ids[0], ids[1]


ALL = [one["custom_id"] for one in LINES]


@pytest.mark.parametrize("there", [0, 1, 5, 6])
async def test_killed_while_documents_came_into_the_store(there: int, tmp_path: Path):
    """None is there twice."""
    model = StandInModel()
    with storing(tmp_path) as storage:
        job = left_batch(storage)
        storage.jobs.add_documents(job.id, documents(there))
        batch, answers, errors = await ended(storage, job, model)
    assert (batch["status"], answers, errors) == ("completed", ALL, []) and len(model.requests) == 6


@pytest.mark.parametrize("answered", [0, 2, 6])
async def test_killed_in_progress(answered: int, tmp_path: Path):
    model = StandInModel()
    with storing(tmp_path) as storage:
        job = left_batch(storage)
        storage.jobs.add_documents(job.id, documents(6))
        storage.jobs.begin(job.id, layers=4)
        storage.jobs.finish(job.id, [answer(number) for number in range(answered)])
        batch, answers, errors = await ended(storage, job, model)
    assert (batch["status"], answers, errors) == ("completed", ALL, [])
    assert len(model.requests) == 6 - answered


@pytest.mark.parametrize(("state", "end"), [("finalizing", "expired"), ("cancelling", "cancelled")])
@pytest.mark.parametrize("written", [False, True])
async def test_killed_at_the_end(state: str, end: str, written: bool, tmp_path: Path):
    """Results that were written before the kill are written again, under the same names."""
    model = StandInModel()
    with storing(tmp_path) as storage:
        job = left_batch(storage)
        storage.jobs.add_documents(job.id, documents(6))
        storage.jobs.begin(job.id, layers=4)
        storage.jobs.finish(job.id, [answer(number) for number in range(4)])
        storage.jobs.set_state(job.id, JobState(state))
        if written:
            ResultFiles(storage, job.id, Pacing()).update()
        batch, answers, errors = await ended(storage, job, model)
        assert storage.files.totals().files == 3
    assert (batch["status"], answers, errors) == (end, ALL[:4], ALL[4:]) and not model.requests
    assert batch["request_counts"] == {"total": 6, "completed": 4, "failed": 2}


async def test_killed_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is in files by then is swept out of the store."""
    with storing(tmp_path) as storage:
        job = left_batch(storage)
        storage.jobs.add_documents(job.id, documents(6))
        storage.jobs.begin(job.id, layers=4)
        storage.jobs.finish(job.id, [answer(number) for number in range(6)])
        storage.jobs.set_state(job.id, JobState.FINALIZING)
        ResultFiles(storage, job.id, Pacing()).update()
        storage.jobs.set_state(job.id, JobState.COMPLETED)
        batch, answers, errors = await ended(storage, job, StandInModel())
    assert (batch["status"], answers, errors) == ("completed", ALL, [])


async def test_a_damaged_row_stops_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A gateway that ended for it would end at each start."""
    with storing(tmp_path) as storage:
        job = left_batch(storage)
        with storage.jobs.tables.transaction() as connection:
            connection.execute("UPDATE jobs SET settings = '{' WHERE id = ?", (job.id,))
        async with asking(StandInModel(), storage=storage) as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get(f"/v1/batches/{job.id}")).status_code == 500
            assert (await client.get("/v1/files")).status_code == 200
    assert "fault of p2pinfer" in caplog.text
