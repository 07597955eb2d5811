"""What a run does when documents are wrong, servers are busy or away, and disks are full."""

from __future__ import annotations

import asyncio

import pytest

from p2pinfer.client.batching.row_job import CLOSED
from p2pinfer.documents.jobs.job import Counts, Document, JobState, Outcome, Spent
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.documents.running.progress import Progress
from p2pinfer.errors import (
    ROOM,
    JobStoreError,
    NoRouteError,
    P2PInferError,
    SwarmUnreachableError,
    UsageError,
)
from p2pinfer.openai_api.errors import ApiError
from tests.documents.running.runs import Answers, errors_of, run
from tests.documents.some_jobs import answer, begun

NO_ROUTE = NoRouteError("no server holds layers 3-5")
NO_ROOM = NoRouteError("all servers are full", waiting_for=ROOM)


async def test_a_wrong_document_is_not_tried_again_and_the_rest_goes_on(store: JobStore):
    """It keeps the error that a client of the gateway would get."""

    async def refuse_some(document: Document, parts: DocumentParts) -> Outcome:
        if document.number == 3:
            raise ApiError(400, "'stop' is wrong", param="stop")
        if document.number == 5:
            raise UsageError("too long")
        return answer(document.number)

    answers = Answers(refuse_some)
    ended = await run(store, job := begun(store, 10), answers)

    assert (ended.state, ended.counts) == (JobState.COMPLETED, Counts(total=10, completed=8, failed=2))
    assert errors_of(store, job) == {3: (400, "'stop' is wrong"), 5: (400, "too long")}
    assert len(answers.asked) == 10


async def test_a_document_that_no_server_can_take_gets_its_error_after_five_attempts(store: JobStore):
    """Though it is the last one, so that no other shows that the swarm is there."""

    async def refuse_one(document: Document, parts: DocumentParts) -> Outcome:
        if document.number == 0:
            raise NO_ROOM
        return answer(document.number)

    answers = Answers(refuse_one)
    ended = await run(store, job := begun(store, 30), answers, most=2)

    assert ended.counts == Counts(total=30, completed=29, failed=1)
    assert errors_of(store, job) == {0: (503, "all servers are full")}
    assert 5 <= answers.asked.count(0) <= 6


async def test_many_documents_that_no_server_can_take_hold_up_none(store: JobStore):
    """The largest ones may come first: more than are kept in memory to be tried again."""

    async def refuse_first(document: Document, parts: DocumentParts) -> Outcome:
        if document.number < 1_200:
            raise NO_ROOM
        return answer(document.number)

    job = begun(store, 1_250)
    async with asyncio.timeout(60):
        ended = await run(store, job, Answers(refuse_first))
    assert ended.counts == Counts(total=1_250, completed=50, failed=1_200)


async def test_while_the_swarm_is_away_the_job_waits_says_so_and_uses_no_attempts(store: JobStore):
    """One document at a time shows whether it is back."""
    is_away = True
    told: list[str] = []
    noted: list[str] = []
    job = begun(store, 40)

    async def answer_later(document: Document, parts: DocumentParts) -> Outcome:
        if is_away:
            raise NO_ROUTE
        return answer(document.number)

    answers = Answers(answer_later)

    def look(progress: Progress) -> None:
        nonlocal is_away
        told.append(progress.waiting_for)
        seen = store.job(job.id)
        assert seen is not None
        noted.append(seen.waiting_for)
        if len(answers.asked) > 60:
            assert progress.seconds_left is None
            is_away = False

    ended = await run(store, job, answers, on_progress=look)

    assert ended.counts == Counts(total=40, completed=40)
    assert "no server holds layers 3-5" in told and told[-1] == ""
    assert "no server holds layers 3-5" in noted and ended.waiting_for == ""
    assert answers.asked[:8] == list(range(8))
    assert len(set(answers.asked[8:48])) > 30, "each trial is another document's"


async def test_a_swarm_that_stays_away_is_waited_for_by_the_last_document_as_well(store: JobStore):
    """Only an end from outside ends that."""
    tries = 0

    async def fail(document: Document, parts: DocumentParts) -> Outcome:
        nonlocal tries
        tries += 1
        if tries == 40:
            store.cancel(job.id)
        raise SwarmUnreachableError("no peer answers")

    job = begun(store, 1)
    ended = await run(store, job, Answers(fail))

    assert ended.state is JobState.CANCELLED and tries >= 40
    assert errors_of(store, job)[0][0] == 0


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), P2PInferError("odd"), ApiError(500, "no")])
async def test_what_should_not_happen_is_tried_five_times(store: JobStore, error: Exception):
    """And its traceback is in the log, not in the answer."""

    async def fail(document: Document, parts: DocumentParts) -> Outcome:
        raise error

    answers = Answers(fail)
    ended = await run(store, job := begun(store, 3), answers)

    assert ended.counts == Counts(total=3, failed=3) and len(answers.asked) == 15
    assert {status for status, _ in errors_of(store, job).values()} == {500}
    assert "ZeroDivision" not in str(errors_of(store, job))


async def test_an_answer_that_is_broken_off_by_others_is_tried_again(store: JobStore):
    """A cancellation that isn't the run's own loses no document."""
    tries = 0

    async def break_off(document: Document, parts: DocumentParts) -> Outcome:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise asyncio.CancelledError
        return answer(document.number)

    ended = await run(store, begun(store, 1), Answers(break_off))
    assert ended.counts == Counts(total=1, completed=1)


async def test_attempts_outlive_the_run(store: JobStore):
    """A document that makes every run fail does so five times."""

    async def fail(document: Document, parts: DocumentParts) -> Outcome:
        raise P2PInferError("odd")

    job = begun(store, 1)
    for _ in range(3):
        store.note_attempts(job.id, {0: "odd"})
    answers = Answers(fail)
    await run(store, job, answers)
    assert len(answers.asked) == 2


async def test_a_disk_that_is_full_ends_the_run_and_the_job_can_go_on(store: JobStore):
    """Nothing that was written is lost."""
    job = begun(store, 50)
    with store.tables.transaction() as connection:
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")

    async def answer_at_length(document: Document, parts: DocumentParts) -> Outcome:
        return answer(document.number, "x" * 4_000)

    with pytest.raises(JobStoreError, match="full"):
        await run(store, job, Answers(answer_at_length))
    with store.tables.transaction() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    ended = await run(store, job, Answers(answer_at_length))
    assert ended.counts == Counts(total=50, completed=50)


async def test_a_part_that_can_not_be_kept_ends_the_run(store: JobStore):
    """It is not the document's fault."""

    async def fail(document: Document, parts: DocumentParts) -> Outcome:
        raise JobStoreError("disk full")

    job = begun(store, 3)
    with pytest.raises(JobStoreError, match="disk full"):
        await run(store, job, Answers(fail))
    assert len(store.waiting(job.id, limit=9)) == 3


async def test_a_model_that_is_closed_ends_the_run_without_errors_of_documents(store: JobStore):
    """As at the end of a gateway."""

    async def fail(document: Document, parts: DocumentParts) -> Outcome:
        raise UsageError(CLOSED)

    job = begun(store, 3)
    with pytest.raises(UsageError, match="closed"):
        await run(store, job, Answers(fail))
    assert len(store.waiting(job.id, limit=9)) == 3


@pytest.mark.parametrize("body", [{"x": float("nan")}, {"x": object()}, {"x": 10**5000}])
async def test_an_answer_that_is_not_json_becomes_an_error(store: JobStore, body: dict[str, object]):
    """The others of the same write are kept."""

    async def answer_oddly(document: Document, parts: DocumentParts) -> Outcome:
        if document.number == 1:
            return Outcome(number=1, status=200, body=body, spent=Spent(decode_tokens=1))
        return answer(document.number)

    job = begun(store, 3)
    ended = await run(store, job, Answers(answer_oddly))
    assert ended.counts == Counts(total=3, completed=2, failed=1)
    assert errors_of(store, job)[1][0] == 500
