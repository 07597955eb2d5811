"""Jobs are run to their end: every document gets an answer or an error, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from p2pinfer.backoff import Backoff
from p2pinfer.client.batching.row_job import CLOSED
from p2pinfer.documents.jobs.job import Counts, Document, Job, JobState, Outcome, Spent
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.documents.running.pace import Pace
from p2pinfer.documents.running.progress import Progress
from p2pinfer.documents.running.runner import run_job
from p2pinfer.errors import (
    ROOM,
    JobError,
    JobStoreError,
    NoRouteError,
    P2PInferError,
    SwarmUnreachableError,
    UsageError,
)
from p2pinfer.openai_api.errors import ApiError
from tests.documents.some_jobs import NOW, answer, begun

AT_ONCE = Backoff(first_seconds=0.0, most_seconds=0.0)
PACE = Pace(look_seconds=0.01, document=AT_ONCE, swarm=AT_ONCE)
NO_ROUTE = NoRouteError("no server holds layers 3-5")
NO_ROOM = NoRouteError("all servers are full", waiting_for=ROOM)

Answer = Callable[[Document, DocumentParts], Awaitable[Outcome]]


class Answers:
    """Answers as a function says; notes which documents were asked, and how many were at once."""

    def __init__(self, answer_one: Answer | None = None) -> None:
        self._answer = answer_one
        self.asked: list[int] = []
        self.under_way = 0
        self.most_under_way = 0

    async def answer(self, document: Document, parts: DocumentParts) -> Outcome:
        self.asked.append(document.number)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            return await self._answer(document, parts) if self._answer else answer(document.number)
        finally:
            self.under_way -= 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[JobStore]:
    with JobStore.open(path) as opened:
        yield opened


async def run(
    store: JobStore,
    job: Job,
    answers: Answers,
    *,
    most: int = 8,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Job:
    """Run a job in a swarm that has room for so many documents."""
    return await run_job(
        store, job.id, answers, room=asyncio.Semaphore(most), on_progress=on_progress, pace=PACE
    )


def errors_of(store: JobStore, job: Job) -> dict[int, tuple[int, str]]:
    """The errors of a job's documents: status and message."""
    found = store.outcomes(job.id, limit=1000, errors=True)
    return {one.outcome.number: (one.outcome.status, one.outcome.body["error"]["message"]) for one in found}


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


async def test_while_the_swarm_is_away_the_job_waits_says_so_and_uses_no_attempts(store: JobStore):
    """One document at a time shows whether it is back."""
    is_away = True
    told: list[str] = []
    job = begun(store, 40)

    async def answer_later(document: Document, parts: DocumentParts) -> Outcome:
        if is_away:
            raise NO_ROUTE
        return answer(document.number)

    answers = Answers(answer_later)

    def look(progress: Progress) -> None:
        nonlocal is_away
        told.append(progress.waiting_for)
        if len(answers.asked) > 60:
            assert progress.seconds_left is None
            is_away = False

    ended = await run(store, job, answers, on_progress=look)

    assert ended.counts == Counts(total=40, completed=40)
    assert "no server holds layers 3-5" in told and told[-1] == ""
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


async def test_attempts_outlive_the_run(store: JobStore):
    """A document that makes every run fail does so five times."""

    async def fail(document: Document, parts: DocumentParts) -> Outcome:
        raise P2PInferError("odd")

    job = begun(store, 1)
    for _ in range(3):
        store.note_attempt(job.id, 0, "odd")
    answers = Answers(fail)
    await run(store, job, answers)
    assert len(answers.asked) == 2


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


async def test_progress_tells_what_is_done_and_under_way(store: JobStore):
    told: list[Progress] = []
    job = begun(store, 20)
    await run(store, job, Answers(), on_progress=told.append)

    assert (told[0].counts.waiting, told[0].under_way) == (20, 0)
    assert (told[-1].counts, told[-1].layer_tokens) == (Counts(total=20, completed=20), 6_000)
