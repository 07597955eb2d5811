"""The way of a job through its states."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.documents.jobs.job import Counts, JobState
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.errors import JobError
from tests.documents.jobs.strange import STRANGE
from tests.documents.some_jobs import NOW, answer, begun, documents


def states_of(store: JobStore, job_id: str) -> list[JobState]:
    job = store.job(job_id)
    assert job is not None
    return list(job.at)


@pytest.mark.parametrize("way", ["completed", "expired", "cancelled"])
def test_a_job_goes_its_way_to_the_end(store: JobStore, way: str):
    """And tells when it came where. Documents that are never answered get an error."""
    job = begun(store, 3)
    store.finish(job.id, [answer(1)])
    if way == "completed":
        store.finish(job.id, [answer(0), answer(2)])
    middle = JobState.CANCELLING if way == "cancelled" else JobState.FINALIZING
    store.set_state(job.id, middle)
    if way != "completed":
        with pytest.raises(JobError, match="2 of its documents have no outcome"):
            store.set_state(job.id, JobState(way))
        store.give_up(job.id, code=f"batch_{way}", message="too late")
    ended = store.set_state(job.id, JobState(way))

    assert ended.state.is_over and ended.counts.waiting == 0
    assert store.has_given_up(job.id) == (way != "completed")
    assert list(ended.at) == [JobState.VALIDATING, JobState.IN_PROGRESS, middle, JobState(way)]
    if way != "completed":
        assert ended.counts == Counts(total=3, completed=1, failed=2)
        given_up = store.outcomes(job.id, limit=9, errors=True)
        assert [one.outcome.status for one in given_up] == [0, 0]
        assert given_up[0].outcome.body == {"error": {"code": f"batch_{way}", "message": "too late"}}


def test_steps_that_the_states_do_not_have_are_refused(store: JobStore):
    """Each names both states, and changes nothing."""
    job = store.create()
    with pytest.raises(JobError, match="is validating: it can't become finalizing"):
        store.set_state(job.id, JobState.FINALIZING)
    with pytest.raises(JobError, match="validating"):
        store.finish(job.id, [])
    store.add_documents(job.id, documents(1))
    store.begin(job.id, layers=30)
    with pytest.raises(JobError, match="in_progress"):
        store.add_documents(job.id, documents(1, first=1))
    with pytest.raises(JobError, match="it can't become in_progress"):
        store.begin(job.id, layers=30)
    with pytest.raises(JobError, match="in_progress"):
        store.give_up(job.id, code="x", message="x")
    with pytest.raises(JobError, match="it can't become completed"):
        store.set_state(job.id, JobState.COMPLETED)

    assert store.cancel(job.id).state is JobState.CANCELLING
    assert store.cancel(job.id).state is JobState.CANCELLING
    with pytest.raises(JobError, match="is cancelling: it can't become finalizing"):
        store.set_state(job.id, JobState.FINALIZING)
    assert states_of(store, job.id) == [JobState.VALIDATING, JobState.IN_PROGRESS, JobState.CANCELLING]


def test_states_come_one_after_the_other_though_the_clock_is_set_back(path: Path):
    """No state is entered before the one before it."""
    clock = iter([NOW, NOW - 1e6, NOW - 2e6, NOW + 5])
    with JobStore.open(path, now=lambda: next(clock)) as store:
        job = begun(store, 0)
        store.set_state(job.id, JobState.FINALIZING)
        ended = store.set_state(job.id, JobState.COMPLETED)

    assert list(ended.at.values()) == [NOW, NOW, NOW, NOW + 5]


def test_a_failed_job_says_why(store: JobStore):
    job = store.create()
    problem = {"code": "invalid_json_line", "message": STRANGE, "param": None, "line": 3}

    failed = store.fail(job.id, [problem])
    assert (failed.state, failed.problems) == (JobState.FAILED, (problem,))
    with pytest.raises(JobError, match="is failed"):
        store.begin(job.id, layers=1)
