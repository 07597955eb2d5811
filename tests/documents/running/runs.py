"""What answers documents in tests of runs, and runs that don't pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from p2pinfer.backoff import Backoff
from p2pinfer.documents.jobs.job import Document, Job, Outcome
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.documents.running.pace import Pace
from p2pinfer.documents.running.progress import Progress
from p2pinfer.documents.running.runner import run_job
from p2pinfer.documents.running.winding_up import Files
from tests.documents.some_jobs import answer

AT_ONCE = Backoff(first_seconds=0.0, most_seconds=0.0)
PACE = Pace(look_seconds=0.01, document=AT_ONCE, doubtful=AT_ONCE, swarm=AT_ONCE)

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


async def run(
    store: JobStore,
    job: Job,
    answers: Answers,
    *,
    most: int = 8,
    files: Files | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Job:
    """Run a job in a swarm that has room for so many documents."""
    return await run_job(
        store, job.id, answers, room=asyncio.Semaphore(most), files=files, on_progress=on_progress, pace=PACE
    )


def errors_of(store: JobStore, job: Job) -> dict[int, tuple[int, str]]:
    """The errors of a job's documents: status and message."""
    found = store.outcomes(job.id, limit=1000, errors=True)
    return {one.outcome.number: (one.outcome.status, one.outcome.body["error"]["message"]) for one in found}
