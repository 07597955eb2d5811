"""The files that a batch makes: one of answers, one of errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from p2pinfer.documents.files.stored_file import Purpose
from p2pinfer.documents.jobs.job import Finished, Job, JobState
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.output_lines import output_line
from p2pinfer.gateway.batches.slow_work import Pacing
from p2pinfer.gateway.storage import Storage
from p2pinfer.openai_api.shapes.files import MOST_EXPIRY_SECONDS

_OUTCOMES_AT_ONCE = 16
"""Answers may have megabytes."""

_AT_THE_END = frozenset({JobState.FINALIZING, JobState.CANCELLING})


class ResultFiles:
    """The results of one batch, which are written when no more will come."""

    def __init__(self, storage: Storage, job_id: str, pacing: Pacing) -> None:
        self._storage = storage
        self._job_id = job_id
        self._pacing = pacing

    def update(self) -> None:
        """Write the files if it is time, and note their ids. Twice is harmless: they are the same files then.

        A file without lines isn't made. Raises OSError and DatabaseError.
        """
        jobs = self._storage.jobs
        job = jobs.job(self._job_id)
        if job is not None and job.state in _AT_THE_END:
            output_file, error_file = (self._written(job, errors=errors) for errors in (False, True))
            jobs.set_files(job.id, output_file=output_file, error_file=error_file)

    def _written(self, job: Job, *, errors: bool) -> str | None:
        kind = "error" if errors else "output"
        file_id = f"file-{hashlib.sha256(f'{job.id} {kind}'.encode()).hexdigest()[:32]}"
        with self._storage.files.incoming() as incoming:
            for finished in self._pacing(_outcomes(self._storage.jobs, job.id, errors=errors)):
                incoming.write(output_line(job.id, finished))
            if not incoming.size_bytes:
                return None
            self._storage.files.keep(
                incoming,
                owner=job.owner,
                purpose=Purpose.BATCH_OUTPUT,
                name=f"{job.id}_{kind}.jsonl",
                lasts_seconds=float(job.settings.get("output_seconds", MOST_EXPIRY_SECONDS)),
                file_id=file_id,
            )
        return file_id


def _outcomes(jobs: JobStore, job_id: str, *, errors: bool) -> Iterator[Finished]:
    after = 0
    while found := jobs.outcomes(job_id, after=after, limit=_OUTCOMES_AT_ONCE, errors=errors):
        yield from found
        after = found[-1].place
