"""What came of documents, on its way into the store: many in one write, and never lost by an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from p2pinfer.documents.jobs.job import Outcome
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.errors import JobError
from p2pinfer.openai_api.errors import ApiError, as_api_error


def error_outcome(number: int, error: Exception) -> Outcome:
    """The error that a document keeps."""
    told = as_api_error(error)
    return Outcome(number=number, status=told.status, body=told.body())


def put_into(store: JobStore, job_id: str, outcomes: Sequence[Outcome], attempts: dict[int, str]) -> None:
    """Write outcomes and attempts. An answer that can't be written as JSON becomes an error.

    Raises JobStoreError, and then may be called again with the same.
    """
    if attempts:
        store.note_attempts(job_id, attempts)
        attempts.clear()
    if not outcomes:
        return
    try:
        store.finish(job_id, outcomes)
    except JobError:
        for outcome in outcomes:
            try:
                store.finish(job_id, [outcome])
            except JobError as error:
                told = ApiError(500, f"The answer can't be kept: {error}", kind="server_error", code="failed")
                store.finish(job_id, [replace(outcome, status=told.status, body=told.body())])
