"""The files that a batch makes: one of answers, one of errors, each line in OpenAI's form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from p2pinfer.documents.files.stored_file import Purpose
from p2pinfer.documents.jobs.job import Finished, Job
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.gateway.storage import Storage

_OUTCOMES_AT_ONCE = 16
"""Answers may have megabytes."""


Pacing = Callable[[Iterable[Finished]], Iterable[Finished]]
"""Gives all it is given, maybe with pauses."""


def write_results(storage: Storage, job: Job, *, lasts_seconds: float, pacing: Pacing) -> Job:
    """Write what came of the documents, and note the files' ids. Doing it twice is harmless.

    A file without lines isn't made. Raises OSError, DatabaseError, and what `pacing` raises.
    """
    output_file, error_file = (
        _written(storage, job, lasts_seconds, pacing, errors=errors) for errors in (False, True)
    )
    return storage.jobs.set_files(job.id, output_file=output_file, error_file=error_file)


def result_line(job_id: str, finished: Finished) -> dict[str, Any]:
    """A line of the output file, or of the error file. Pure."""
    outcome = finished.outcome
    # Made of what it is for: a file that is written again, after a kill, is the same one.
    place = hashlib.sha256(f"{job_id} {outcome.number}".encode()).hexdigest()[:32]
    if not outcome.status:  # it was never answered: the batch was over
        error = outcome.body["error"]
        said = {"code": error["code"], "message": error["message"]}
        return {"id": f"batch_req_{place}", "custom_id": finished.custom_id, "response": None, "error": said}
    response = {"status_code": outcome.status, "request_id": f"req_{place}", "body": outcome.body}
    return {"id": f"batch_req_{place}", "custom_id": finished.custom_id, "response": response, "error": None}


def _written(storage: Storage, job: Job, lasts_seconds: float, pacing: Pacing, *, errors: bool) -> str | None:
    kind = "error" if errors else "output"
    file_id = f"file-{hashlib.sha256(f'{job.id} {kind}'.encode()).hexdigest()[:32]}"
    with storage.files.incoming() as incoming:
        for finished in pacing(_outcomes(storage.jobs, job.id, errors=errors)):
            line = json.dumps(result_line(job.id, finished), ensure_ascii=False, separators=(",", ":"))
            incoming.write(line.encode(errors="replace") + b"\n")
        if not incoming.size_bytes:
            return None
        storage.files.keep(
            incoming,
            owner=job.owner,
            purpose=Purpose.BATCH_OUTPUT,
            name=f"{job.id}_{kind}.jsonl",
            lasts_seconds=lasts_seconds,
            file_id=file_id,
        )
    return file_id


def _outcomes(jobs: JobStore, job_id: str, *, errors: bool) -> Iterator[Finished]:
    after = 0
    while found := jobs.outcomes(job_id, after=after, limit=_OUTCOMES_AT_ONCE, errors=errors):
        yield from found
        after = found[-1].place
