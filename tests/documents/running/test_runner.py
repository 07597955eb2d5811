"""Jobs are run to their end: every document gets an answer or an error, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from p2pinfer.documents.jobs.job import Counts, Document, JobState, Outcome, Spent
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.documents.running.pace import Pace
from p2pinfer.documents.running.progress import Progress
from p2pinfer.documents.running.runner import run_job
from p2pinfer.errors import ROOM, HopFailedError, JobError, NoRouteError, P2PInferError
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.types import PeerId
from tests.documents.running.runs import PACE, Answers, errors_of, run
from tests.documents.some_jobs import NOW, answer, begun


async def test_every_document_is_answered_and_as_many_at_once_as_there_is_room(store: JobStore):
    """More documents than one page of the store."""
    answers = Answers()
    ended = await run(store, begun(store, 200), answers)

    assert (ended.state, ended.counts) == (JobState.COMPLETED, Counts(total=200, completed=200))
    assert ended.spent == Spent(prefill_tokens=1400, decode_tokens=600)
    assert answers.asked == list(range(200)) and answers.most_under_way == 8
    assert ended.runner == ""


async def test_a_job_without_documents_is_over_at_once(store: JobStore):
    ended = await run(store, begun(store, 0), Answers())
    assert ended.state is JobState.COMPLETED


async def test_the_budget_ends_a_job_between_two_documents_and_a_larger_one_goes_on(store: JobStore):
    """300 layer-tokens for a document; those under way count as well."""
    answers = Answers()
    job = begun(store, 30, most_layer_tokens=3_100)
    stopped = await run(store, job, answers)

    assert stopped.state is JobState.IN_PROGRESS and stopped.runner == ""
    assert (stopped.layer_tokens, stopped.counts.completed) == (3_000, 10)
    again = await run(store, job, answers)
    assert again.counts == stopped.counts and len(answers.asked) == 10

    store.set_budget(job.id, 9_000)
    ended = await run(store, job, answers)
    assert (ended.state, ended.layer_tokens) == (JobState.COMPLETED, 9_000)


async def test_without_a_budget_nothing_begins(store: JobStore):
    answers = Answers()
    stopped = await run(store, begun(store, 3, most_layer_tokens=0), answers)
    assert stopped.state is JobState.IN_PROGRESS and answers.asked == []


async def test_cancelled_by_another_process_it_keeps_what_is_finished(store: JobStore, path: Path):
    """Documents under way are stopped; those without an answer say why."""
    is_stopped = asyncio.Event()

    async def hang_at_five(document: Document, parts: DocumentParts) -> Outcome:
        if document.number < 5:
            return answer(document.number)
        try:
            with JobStore.open(path) as other:
                other.cancel(job.id)
            await asyncio.Event().wait()
            raise AssertionError
        finally:
            is_stopped.set()

    job = begun(store, 100)
    ended = await run(store, job, Answers(hang_at_five), most=3)

    assert (ended.state, ended.counts) == (JobState.CANCELLED, Counts(total=100, completed=5, failed=95))
    assert is_stopped.is_set()
    assert errors_of(store, job)[99] == (
        0,
        "This request was not executed because the batch was cancelled.",
    )


async def test_an_expired_job_keeps_what_is_finished(store: JobStore):
    """The clock is the machine's; once over it stays over."""
    now = NOW

    async def hang_at_five(document: Document, parts: DocumentParts) -> Outcome:
        nonlocal now
        if document.number < 5:
            return answer(document.number)
        now = NOW + 10
        return await asyncio.Future()

    job = store.create(expires_at=NOW + 10)
    store.add_documents(job.id, (Document(number=n, custom_id="", url="", body={}) for n in range(9)))
    store.begin(job.id, layers=30)
    ended = await run_job(
        store,
        job.id,
        Answers(hang_at_five),
        room=asyncio.Semaphore(3),
        pace=PACE,
        now=lambda: now,
    )

    assert (ended.state, ended.counts) == (JobState.EXPIRED, Counts(total=9, completed=5, failed=4))
    assert list(ended.at)[-2:] == [JobState.FINALIZING, JobState.EXPIRED]
    assert (await run(store, job, Answers())).state is JobState.EXPIRED


@pytest.mark.parametrize("state", [JobState.FINALIZING, JobState.CANCELLING])
async def test_a_job_that_was_killed_at_its_end_is_ended_by_the_next_run(store: JobStore, state: JobState):
    """It came there because it was expired, or cancelled."""
    job = begun(store, 4)
    store.finish(job.id, [answer(0)])
    store.set_state(job.id, state)
    if state is JobState.FINALIZING:
        store.give_up(job.id, code="batch_expired", message="late")
    answers = Answers()
    ended = await run(store, job, answers)

    assert ended.state is (JobState.EXPIRED if state is JobState.FINALIZING else JobState.CANCELLED)
    assert ended.counts == Counts(total=4, completed=1, failed=3) and answers.asked == []


async def test_a_cancelled_run_keeps_what_is_finished_and_goes_on_later(store: JobStore):
    """As at SIGTERM or Ctrl-C: nothing is answered twice."""
    reached = asyncio.Event()

    async def hang_at_five(document: Document, parts: DocumentParts) -> Outcome:
        if document.number < 5:
            return answer(document.number)
        reached.set()
        return await asyncio.Future()

    job = begun(store, 10)
    slow = Pace(look_seconds=60.0)  # so that it is the end that writes
    running = asyncio.create_task(
        run_job(store, job.id, Answers(hang_at_five), room=asyncio.Semaphore(2), pace=slow)
    )
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    paused = store.job(job.id)
    assert paused is not None and paused.state is JobState.IN_PROGRESS and paused.runner == ""
    assert paused.counts == Counts(total=10, completed=5)
    answers = Answers()
    ended = await run(store, job, answers)
    assert answers.asked == [5, 6, 7, 8, 9] and ended.state is JobState.COMPLETED


async def test_a_cancelled_run_leaves_no_room_taken(store: JobStore):
    """Wherever it was broken off: a gateway's jobs share the room."""
    job = begun(store, 200)
    room = asyncio.Semaphore(8)
    for steps in range(60):
        running = asyncio.create_task(run_job(store, job.id, Answers(), room=room, pace=PACE))
        while not room.locked() and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(steps % 5):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert room._value == 8


async def test_two_can_not_run_a_job_at_once(store: JobStore, path: Path):
    """The second hears who the first is; with the claim of its caller a run goes on."""
    job = begun(store, 3)
    with JobStore.open(path) as other, other.claim(job.id, "pid 4711 on car") as claim:
        with pytest.raises(JobError, match="pid 4711 on car"):
            await run(store, job, Answers())
        ended = await run_job(store, job.id, Answers(), room=asyncio.Semaphore(1), pace=PACE, claim=claim)
        assert ended.state is JobState.COMPLETED


async def test_a_job_that_is_not_begun_or_not_there_is_refused(store: JobStore):
    job = store.create()
    with pytest.raises(JobError, match="is not begun"):
        await run(store, job, Answers())
    store.delete(job.id)
    with pytest.raises(JobError, match="there is no job"):
        await run(store, job, Answers())


async def test_parts_that_were_kept_are_given_to_the_next_attempt(store: JobStore):
    """In this run and in the next one, and they are counted once."""
    seen: list[dict[str, str]] = []

    async def in_two_parts(document: Document, parts: DocumentParts) -> Outcome:
        seen.append(dict(parts.kept))
        if len(parts.kept) == 2:
            return answer(0)
        await parts.keep(f"part-{len(parts.kept)}", "text", Spent(decode_tokens=10))
        raise P2PInferError("odd")

    job = begun(store, 1)
    store.keep_part(job.id, 0, "part-0", "before", Spent(decode_tokens=1))
    ended = await run(store, job, Answers(in_two_parts))

    assert seen == [{"part-0": "before"}, {"part-0": "before", "part-1": "text"}]
    assert ended.spent == Spent(prefill_tokens=7, decode_tokens=14)


async def test_progress_tells_what_is_done_and_under_way(store: JobStore):
    told: list[Progress] = []
    job = begun(store, 20)
    await run(store, job, Answers(), on_progress=told.append)

    assert (told[0].counts.waiting, told[0].under_way) == (20, 0)
    assert (told[-1].counts, told[-1].layer_tokens) == (Counts(total=20, completed=20), 6_000)


@pytest.mark.parametrize("seed", range(3))
async def test_in_a_chaos_every_document_gets_one_outcome(store: JobStore, path: Path, seed: int):
    """Errors of all sorts, and runs that are broken off; nothing is asked again that has its outcome."""
    choices = random.Random(seed)
    job = begun(store, 150)
    errors = [
        ApiError(400, "no"),
        NoRouteError("none"),
        NoRouteError("full", waiting_for=ROOM),
        HopFailedError(PeerId("peer"), "gone"),
        ZeroDivisionError(),
        asyncio.CancelledError(),
    ]

    async def answer_perhaps(document: Document, parts: DocumentParts) -> Outcome:
        assert document.number in waiting, "it has its outcome"
        await asyncio.sleep(choices.choice([0, 0, 0.001, 0.003]))
        if choices.random() < 0.4:
            raise choices.choice(errors)
        await parts.keep("part", "text", Spent(cached_tokens=1))
        return answer(document.number)

    for _ in range(6):
        waiting = {one.number for one in store.waiting(job.id, limit=1000)}
        running = asyncio.create_task(run(store, job, Answers(answer_perhaps), most=20))
        await asyncio.sleep(choices.uniform(0, 0.06))
        running.cancel()
        await asyncio.wait([running])
    waiting = {one.number for one in store.waiting(job.id, limit=1000)}
    async with asyncio.timeout(60):
        ended = await run(store, job, Answers(answer_perhaps), most=20)

    assert ended.state is JobState.COMPLETED and ended.counts.waiting == 0
    answered = store.outcomes(job.id, limit=1000, errors=False)
    failed = store.outcomes(job.id, limit=1000, errors=True)
    assert sorted(one.outcome.number for one in (*answered, *failed)) == list(range(150))
    assert (len(answered), len(failed)) == (ended.counts.completed, ended.counts.failed)
    assert ended.spent.decode_tokens == 3 * len(answered)
