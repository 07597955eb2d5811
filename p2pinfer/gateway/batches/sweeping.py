"""Deletes what has had its time: files that expired, batches that were over long ago, what a kill left."""

from __future__ import annotations

import contextlib

from p2pinfer.documents.jobs.queue import is_needed, kept_for_nothing, over_since
from p2pinfer.errors import JobError
from p2pinfer.gateway.storage import Storage

_KEPT_SECONDS = 30 * 86_400.0
"""After which a batch that is over is forgotten; its files are by then, too."""


def sweep(storage: Storage) -> None:
    """Do it once. Raises OSError and DatabaseError."""
    tables = storage.jobs.tables
    for file in storage.files.expired():
        if not is_needed(tables, file.id):
            storage.files.delete(file.id)
    storage.files.sweep()
    for job_id in kept_for_nothing(tables):
        with contextlib.suppress(JobError):  # another gateway is at it
            storage.jobs.forget_documents(job_id)
    for job_id in over_since(tables, tables.now() - _KEPT_SECONDS):
        with contextlib.suppress(JobError):
            storage.jobs.delete(job_id)
