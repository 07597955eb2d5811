"""The end of a job: documents that are never answered, its files, its last state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from p2pinfer.documents.jobs.job import Job, JobState
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.errors import JobError

_CANCELLED = ("batch_cancelled", "This request was not executed because the batch was cancelled.")
_EXPIRED = (
    "batch_expired",
    "This request could not be executed before the completion window expired.",
)


class Files(Protocol):
    """What is written of a job while it runs, such as `JobFiles`."""

    def update(self) -> None:
        """Bring everything up to date with the store."""


class NoFiles:
    """A job whose outcomes stay in the store."""

    def update(self) -> None:
        """Nothing is written."""


def wind_up(store: JobStore, job_id: str, *, files: Files, now: Callable[[], float]) -> Job:
    """End a job that has nothing more to do, and whose claim the caller has. Returns it as it is then.

    That is: every document has an outcome, or the job is to be cancelled, or it is expired. Any other one
    stays as it is. Killed in between, it goes on with the next call. Raises JobError, JobStoreError and what
    `files` raises.
    """
    job = store.known(job_id)
    if job.state is JobState.IN_PROGRESS and (not job.counts.waiting or is_expired(job, now())):
        try:
            job = store.set_state(job_id, JobState.FINALIZING)
        except JobError:
            job = store.known(job_id)  # cancelled at this very moment
    if job.state is JobState.CANCELLING:
        code, message = _CANCELLED
        end = JobState.CANCELLED
    elif job.state is JobState.FINALIZING:
        code, message = _EXPIRED
        # If documents wait, or have been given up already, it came here because it was expired.
        end = JobState.EXPIRED if job.counts.waiting or store.has_given_up(job_id) else JobState.COMPLETED
    else:
        files.update()
        return job
    store.give_up(job_id, code=code, message=message)
    files.update()
    return store.set_state(job_id, end)


def is_expired(job: Job, now: float) -> bool:
    """True if the time of a job is over."""
    return job.expires_at is not None and now >= job.expires_at
