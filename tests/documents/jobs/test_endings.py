"""The ends of jobs that gateways ask for: before they begin, and when their results are in files."""

from __future__ import annotations

import pytest

from p2pinfer.documents.jobs.job import Counts, JobState
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.errors import JobError
from tests.documents.some_jobs import answer, begun, documents, error


def test_a_job_can_be_cancelled_before_it_begins(store: JobStore):
    """Also while its documents are still being added."""
    job = store.create()
    store.add_documents(job.id, documents(2))
    store.cancel(job.id)
    with pytest.raises(JobError, match="cancelling"):
        store.add_documents(job.id, documents(1, first=2))
    store.give_up(job.id, code="batch_cancelled", message="too late")
    ended = store.set_state(job.id, JobState.CANCELLED)

    assert ended.counts == Counts(total=2, failed=2)
    assert list(ended.at) == [JobState.VALIDATING, JobState.CANCELLING, JobState.CANCELLED]


def test_a_job_that_is_over_can_forget_its_documents(store: JobStore):
    """What it took and counted stays; one that isn't over needs them."""
    job = begun(store, 2)
    with pytest.raises(JobError, match="needs its documents"):
        store.forget_documents(job.id)
    store.finish(job.id, [answer(0), error(1)])
    store.set_state(job.id, JobState.FINALIZING)
    done = store.set_state(job.id, JobState.COMPLETED)
    store.forget_documents(job.id)

    assert store.job(job.id) == done and done.counts == Counts(total=2, completed=1, failed=1)
    assert store.outcomes(job.id, limit=9, errors=False) == []
    assert store.tables.rows("SELECT count(*) FROM documents") == [(0,)]
