"""Runs jobs in processes that can be killed: a line `STORE JOB OUT` on stdin forks one, which runs the job.

With `-` for OUT it makes the job, and adds documents until it is killed. It prints `running PID`, then `ended
STATE` or `refused WHY`, then, when it is gone, `gone`. The answer to a document depends on nothing but the
document. Forked rather than started: Python takes a second to start.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from p2pinfer.documents.jobs.job import Document, Outcome, Spent
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.documents.running.output_file import JobFiles
from p2pinfer.documents.running.pace import Pace
from p2pinfer.documents.running.runner import run_job
from p2pinfer.errors import JobError
from p2pinfer.openai_api.errors import ApiError
from tests.documents.some_jobs import documents

ROOM = 16


class QuickAnswers:
    """Each takes some milliseconds; every fifth document is wrong, every seventh is made of parts."""

    async def answer(self, document: Document, parts: DocumentParts) -> Outcome:
        await asyncio.sleep(random.uniform(0, 0.06))
        if document.number % 5 == 0:
            raise ApiError(400, f"document {document.number} is wrong")
        if document.number % 7 == 0:
            for part in ("first", "second"):
                if part not in parts.kept:
                    await parts.keep(part, f"{part} of {document.number}", Spent(decode_tokens=1))
        content = str(document.body["messages"][0]["content"])
        return Outcome(
            number=document.number,
            status=200,
            body={"text": f"{content} \u2713", "parts": dict(sorted(parts.kept.items()))},
            spent=Spent(prefill_tokens=len(content), decode_tokens=3),
        )


async def run(path: Path, job_id: str, out: Path) -> str:
    """Run a job; returns its state."""
    with JobStore.open(path) as store:
        files = JobFiles(store, job_id, answers=out, errors=out.with_name(f"{out.name}.errors"))
        try:
            job = await run_job(
                store,
                job_id,
                QuickAnswers(),
                room=asyncio.Semaphore(ROOM),
                files=files,
                pace=Pace(look_seconds=0.02),
            )
        finally:
            files.close()
        return job.state


def add_forever(path: Path, job_id: str) -> None:
    """Make a job that never has all its documents."""
    with JobStore.open(path) as store:
        store.create(job_id=job_id)
        store.add_documents(job_id, documents(1 << 40))


def say(line: str) -> None:
    """In one piece, past all buffers."""
    os.write(1, f"{line}\n".encode())


def main() -> None:
    """Until stdin ends."""
    while line := sys.stdin.readline():
        path, job_id, out = line.split()
        pid = os.fork()
        if pid == 0:
            say(f"running {os.getpid()}")
            try:
                if out == "-":
                    add_forever(Path(path), job_id)
                say(f"ended {asyncio.run(run(Path(path), job_id, Path(out)))}")
            except JobError as error:
                say(f"refused {error}")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        say("gone")


if __name__ == "__main__":
    main()
