"""Runs with the texts of a real engine, and the room that its rows give."""

from __future__ import annotations

import asyncio

import pytest

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.texts.request import TextRequest
from p2pinfer.client.texts.text_model import TextModel
from p2pinfer.documents.jobs.job import Counts, Document, JobState, Outcome, Spent
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.documents.running.runner import run_job
from p2pinfer.errors import UsageError
from p2pinfer.model.sampling.options import SamplingOptions
from tests.client.texts.conftest import generating, remote  # noqa: F401 - fixtures
from tests.documents.running.runs import PACE
from tests.documents.some_jobs import begun

MOST_AHEAD = 16


class TextsOfNumbers:
    """A document's number is its prompt; some have too many tokens."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self.under_way = self.most_under_way = 0

    async def answer(self, document: Document, parts: DocumentParts) -> Outcome:
        prompt = [5 + document.number % 40] * (1 + document.number % 7)
        if document.number % 25 == 24:
            prompt *= 1_000
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        request = TextRequest(
            prompt=prompt, max_tokens=4, sampling=SamplingOptions(temperature=0.0), is_background=True
        )
        try:
            async with self._model.generate(request) as text:
                tokens = [one.token async for part in text for one in part.tokens]
        finally:
            self.under_way -= 1
        spent = Spent(prefill_tokens=len(prompt), decode_tokens=4)
        return Outcome(number=document.number, status=200, body={"tokens": tokens}, spent=spent)


def texts(store: JobStore, job_id: str) -> dict[int, list[int]]:
    found = store.outcomes(job_id, limit=1000, errors=False)
    return {one.outcome.number: one.outcome.body["tokens"] for one in found}


async def test_the_rows_of_servers_decide_how_many_are_under_way(remote, store: JobStore):  # noqa: F811
    """Few rows or many: the texts are the same, and too long documents have their errors."""
    alone = TextModel(remote, PoolLimits(rows=1, sessions=1, shortest_row=64, answer_tokens=16))
    many = TextModel(remote, PoolLimits(rows=8, shortest_row=64, answer_tokens=16))
    found = []
    for model in (alone, many):
        job = begun(store, 50)
        answers = TextsOfNumbers(model)
        async with asyncio.timeout(60):
            ended = await run_job(store, job.id, answers, room=model.background_room, pace=PACE)
        assert (ended.state, ended.counts) == (
            JobState.COMPLETED,
            Counts(total=50, completed=48, failed=2),
        )
        [error, *_] = store.outcomes(job.id, limit=9, errors=True)
        assert error.outcome.status == 400
        assert error.outcome.body["error"]["code"] == "context_length_exceeded"
        assert answers.most_under_way >= MOST_AHEAD
        found.append(texts(store, job.id))
    assert found[0] == found[1] and len(found[0]) == 48
    for model in (alone, many):
        model.end_texts()


async def test_a_model_that_is_closed_meanwhile_leaves_a_job_that_goes_on(remote, store: JobStore):  # noqa: F811
    """Texts under way end with an error that is no document's."""
    closed = TextModel(remote, PoolLimits(rows=4, shortest_row=64, answer_tokens=16))
    job = begun(store, 60)
    running = asyncio.create_task(
        run_job(store, job.id, TextsOfNumbers(closed), room=closed.background_room, pace=PACE)
    )
    while not closed.running:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    closed.end_texts()
    with pytest.raises(UsageError, match="closed"):
        await running

    paused = store.job(job.id)
    assert paused is not None and paused.state is JobState.IN_PROGRESS and paused.counts.failed <= 2
    model = TextModel(remote, PoolLimits(rows=4, shortest_row=64, answer_tokens=16))
    async with asyncio.timeout(60):
        ended = await run_job(store, job.id, TextsOfNumbers(model), room=model.background_room, pace=PACE)
    assert ended.counts == Counts(total=60, completed=58, failed=2)
    model.end_texts()
