"""Runs a job: as many documents at once as the swarm has room for, until each has an answer or an error.

Outcomes are written in the background, many in one write and at least once a second; a kill loses what was
under way, and nothing else. While the swarm is away the job waits, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

from p2pinfer.client.batching.row_job import CLOSED
from p2pinfer.documents.jobs.claims import Claim
from p2pinfer.documents.jobs.job import Document, Job, JobState, Outcome, Spent
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.budget import has_room
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.documents.running.outbox import error_outcome, put_into
from p2pinfer.documents.running.pace import Pace
from p2pinfer.documents.running.progress import Meter, Progress
from p2pinfer.documents.running.retrying import verdict_on
from p2pinfer.documents.running.swarm_wait import SwarmWait
from p2pinfer.documents.running.todo import Todo, TodoList, read_page
from p2pinfer.documents.running.winding_up import Files, NoFiles, is_expired, wind_up
from p2pinfer.errors import DatabaseError, JobError, P2PInferError, UsageError
from p2pinfer.openai_api.errors import is_expected
from p2pinfer.openai_api.work.room import Room
from p2pinfer.plain_text import printable
from p2pinfer.tasks import Nursery, first_of, undisturbed
from p2pinfer.threads import BackgroundThread

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_QUIET_SECONDS = 60.0
"""Between lines in the log about a swarm that comes and goes."""
_MOST_TRACEBACKS = 3
"""In the log, of errors that are a fault of p2pinfer: there may be as many as documents."""


class Answers(Protocol):
    """What makes the answer to one document."""

    async def answer(self, document: Document, parts: DocumentParts) -> Outcome:
        """The answer. Raises ApiError and what the core raises: `retrying` decides what comes of that."""


async def run_job(
    store: JobStore,
    job_id: str,
    answers: Answers,
    *,
    room: Room,
    files: Files | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    claim: Claim | None = None,
    pace: Pace | None = None,
    now: Callable[[], float] = time.time,
) -> Job:
    """Run a job until it is over, and return it as it is then.

    A job that is IN_PROGRESS when this returns has no budget left for another document: run it again with
    a larger one. Cancelled, this keeps what is finished, and the job can be run again. `claim` is the job's,
    if the caller has it already. `now` is Unix seconds, for what expires.

    Raises JobError if another process runs the job, or if it isn't begun; JobStoreError if the disk is full
    or the like, and what `files` raises: the job can then be run again, and nothing is lost.
    """
    async with _thread() as run_in_thread:
        with contextlib.nullcontext() if claim else store.claim(job_id, runner_name()):
            run = _Run(
                store,
                job_id,
                answers,
                room=room,
                files=files or NoFiles(),
                on_progress=on_progress,
                pace=pace or Pace(),
                now=now,
                run_in_thread=run_in_thread,
            )
            return replace(await run.to_the_end(), runner="", waiting_for="")


def runner_name() -> str:
    """Who runs a job, for people: `pid 4711 on car`."""
    return f"pid {os.getpid()} on {platform.node() or 'this machine'}"


class InThread(Protocol):
    """Runs a function in a thread, which does one thing after the other."""

    async def __call__(self, work: Callable[[], _T], /) -> _T:
        """Its result. The function runs to its end, also if the caller is cancelled."""


@asynccontextmanager
async def _thread() -> AsyncIterator[InThread]:
    thread = BackgroundThread("p2pinfer-jobs")

    async def run(work: Callable[[], _T]) -> _T:
        return await undisturbed(asyncio.ensure_future(thread.run(work)))

    try:
        yield run
    finally:
        thread.close()


class _Run:
    """One run of one job. For the event loop."""

    def __init__(
        self,
        store: JobStore,
        job_id: str,
        answers: Answers,
        *,
        room: Room,
        files: Files,
        on_progress: Callable[[Progress], None],
        pace: Pace,
        now: Callable[[], float],
        run_in_thread: InThread,
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._answers = answers
        self._room = room
        self._files = files
        self._on_progress = on_progress
        self._pace = pace
        self._now = now
        self._run_in_thread = run_in_thread
        self._todo = TodoList()
        self._wait = SwarmWait(pace.swarm)
        self._meter = Meter()
        self._under_way = 0
        self._first_tries = 0  # of those under way
        self._answered = 0  # in this run
        self._outcomes: list[Outcome] = []  # not yet in the store
        self._attempts: dict[int, str] = {}
        self._news = asyncio.Event()
        self._said_waiting_for = ""
        self._quiet_until = 0.0
        self._tracebacks = 0

    async def to_the_end(self) -> Job:
        """Run the job, whose claim the caller has."""
        job = self._job = await self._run_in_thread(lambda: self._store.known(self._job_id))
        if job.state is JobState.VALIDATING:
            raise JobError(f"job {job.id} is not begun: its documents may not be complete")
        self._counts, self._spent = job.counts, job.spent
        self._said_waiting_for = job.waiting_for  # of a run that was killed
        await self._run_in_thread(self._files.update)
        if job.state is JobState.IN_PROGRESS and not is_expired(job, self._now()):
            try:
                async with Nursery() as documents:
                    await first_of(self._begin_all(documents), self._look())
            finally:
                await self._write()
                self._tell()
        return await self._run_in_thread(
            lambda: wind_up(self._store, self._job_id, files=self._files, now=self._now)
        )

    async def _begin_all(self, documents: Nursery) -> None:
        """Begin one document after the other; return when all have ended."""
        while True:
            self._news.clear()
            if self._todo.wants_page:
                self._todo.add_page(await self._next_page())
            elif self._under_way == 0 and self._todo.is_empty:
                return
            elif not self._has_budget():
                if self._under_way == 0:
                    return
                await self._news.wait()
            elif (seconds := self._seconds_left()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds if seconds < 1e9 else None):
                        await self._news.wait()
            else:
                await self._room.acquire()
                if self._has_budget() and self._seconds_left() == 0:
                    self._begin(documents)
                else:
                    self._room.release()

    async def _next_page(self) -> list[Todo]:
        after = self._todo.last_number
        return await self._run_in_thread(lambda: read_page(self._store, self._job_id, after))

    def _has_budget(self) -> bool:
        layers = self._job.layers
        return has_room(
            self._job.most_layer_tokens,
            spent=self._spent.computed_tokens * layers,
            answered=self._counts.completed,
            under_way=self._under_way,
        )

    def _seconds_left(self) -> float:
        now = time.monotonic()
        return max(self._wait.seconds_left(now), self._todo.seconds_left(now))

    def _begin(self, documents: Nursery) -> None:
        now = time.monotonic()
        todo = self._todo.take(now, fresh_first=self._wait.is_on)
        todo.began_at = now
        if todo.answers_before is None:
            todo.answers_before = self._answered
        self._wait.began(todo.document.number)
        self._under_way += 1
        is_first_try = todo.tries == 0
        self._first_tries += is_first_try
        answering = documents.start(self._answer(todo, is_first_try=is_first_try))
        answering.add_done_callback(self._leave_room)  # also if it is cancelled before it has begun

    async def _answer(self, todo: Todo, *, is_first_try: bool) -> None:
        number = todo.document.number
        try:
            outcome = await self._answers.answer(todo.document, self._parts_of(todo))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._has_failed(todo, P2PInferError("the answer was broken off"))  # not by this run
        except DatabaseError:
            raise  # a part of the answer can't be kept: neither can all others
        except Exception as error:
            if isinstance(error, UsageError) and str(error) == CLOSED:
                raise  # the model was closed before the run was ended: no document's fault
            self._has_failed(todo, error)
        else:
            if outcome.is_answer:
                self._answered += 1
                self._wait.answered()
                self._todo.trust()
            self._has_ended(replace(outcome, number=number))
        finally:
            self._under_way -= 1
            self._first_tries -= is_first_try
            self._wait.ended(number)
            self._news.set()

    def _leave_room(self, answering: asyncio.Task[None]) -> None:
        self._room.release()

    def _parts_of(self, todo: Todo) -> DocumentParts:
        async def keep(part: str, text: str, spent: Spent) -> None:
            number = todo.document.number
            await self._run_in_thread(lambda: self._store.keep_part(self._job_id, number, part, text, spent))
            self._spent += spent

        return DocumentParts(todo.parts, keep)

    def _has_failed(self, todo: Todo, error: Exception) -> None:
        others_that_never_failed = self._first_tries - (todo.tries == 0)
        verdict = verdict_on(
            error,
            attempts=todo.attempts,
            tries=todo.tries,
            has_answered_since=self._answered > (todo.answers_before or 0),
            is_without_others=not self._todo.has_fresh and others_that_never_failed == 0,
            pace=self._pace,
        )
        now = time.monotonic()
        if not is_expected(error) and self._tracebacks < _MOST_TRACEBACKS:
            self._tracebacks += 1
            logger.error("document %d of job %s failed", todo.document.number, self._job_id, exc_info=error)
        if verdict.is_final:
            self._has_ended(error_outcome(todo.document.number, error))
            return
        reason = printable(str(error))
        if verdict.counts:
            todo.attempts += 1
            todo.answers_before = self._answered
            self._attempts[todo.document.number] = reason
        elif verdict.holds_all:
            self._warn(reason, now)
            self._wait.failed(reason, began_at=todo.began_at, now=now)
        else:
            self._warn(reason, now)
            self._wait.note(reason)
        todo.tries += 1
        self._todo.add_again(todo, now + verdict.pause_seconds, is_doubtful=not verdict.counts)

    def _warn(self, reason: str, now: float) -> None:
        if not self._wait.reason and now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            logger.warning("job %s waits for the swarm: %s", self._job_id, reason)

    def _has_ended(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._spent += outcome.spent
        counts = self._counts
        self._counts = (
            replace(counts, completed=counts.completed + 1)
            if outcome.is_answer
            else replace(counts, failed=counts.failed + 1)
        )

    async def _look(self) -> None:
        """Write outcomes, tell how far the job is, and see whether it is to end; returns when it is."""
        while True:
            self._tell()
            await asyncio.sleep(self._pace.look_seconds)
            await self._write()
            if self._wait.reason != self._said_waiting_for:
                await self._say_waiting_for(self._wait.reason)
            job = await self._run_in_thread(lambda: self._store.known(self._job_id))
            if job.state is not JobState.IN_PROGRESS or is_expired(job, self._now()):
                return
            self._job = job  # the budget may have changed
            self._news.set()

    async def _say_waiting_for(self, reason: str) -> None:
        self._said_waiting_for = reason
        await self._run_in_thread(lambda: self._store.set_waiting_for(self._job_id, reason))

    async def _write(self) -> None:
        """Bring outcomes and attempts into the store, then into files."""
        outcomes, self._outcomes = self._outcomes, []
        attempts, self._attempts = self._attempts, {}

        is_written = False

        def write() -> None:
            nonlocal is_written
            put_into(self._store, self._job_id, outcomes, attempts)
            self._files.update()
            is_written = True

        if not outcomes and not attempts:
            return
        try:
            await self._run_in_thread(write)
        finally:
            if not is_written:  # it ended before we were cancelled, if we were
                self._outcomes[:0], self._attempts = outcomes, attempts | self._attempts

    def _tell(self) -> None:
        self._meter.note(
            time.monotonic(),
            documents=self._counts.completed + self._counts.failed,
            tokens=self._spent.computed_tokens,
        )
        speeds = self._meter.per_second()
        self._on_progress(
            Progress(
                counts=self._counts,
                spent=self._spent,
                layers=self._job.layers,
                under_way=self._under_way,
                documents_per_second=speeds[0] if speeds else None,
                tokens_per_second=speeds[1] if speeds else None,
                waiting_for=self._wait.reason,
            )
        )
