"""A job of so many documents from its making to its end; prints by how many MB the process grew meanwhile."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from p2pinfer.documents.jobs.job import Document, Outcome
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.documents.running.output_file import JobFiles
from p2pinfer.documents.running.runner import run_job
from tests.documents.some_jobs import answer, documents

_UNIT = 1_000_000 if sys.platform == "darwin" else 1_000


class InstantAnswers:
    """Without a swarm."""

    async def answer(self, document: Document, parts: DocumentParts) -> Outcome:
        await asyncio.sleep(0)
        return answer(document.number)


async def main(folder: Path, count: int) -> None:
    """Make the job, run it, write its files."""
    with JobStore.open(folder / "jobs.sqlite") as store:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        job = store.create()
        store.add_documents(job.id, documents(count))
        store.begin(job.id, layers=30)
        files = JobFiles(store, job.id, answers=folder / "out.jsonl", errors=folder / "errors.jsonl")
        await run_job(store, job.id, InstantAnswers(), room=asyncio.Semaphore(64), files=files)
        files.close()
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // _UNIT)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
