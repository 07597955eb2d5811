"""Questions about jobs of owners that aren't over, or are."""

from __future__ import annotations

from p2pinfer.documents.jobs.job import JobState
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.jobs.queue import (
    count_unfinished,
    is_needed,
    kept_for_nothing,
    over_since,
    unfinished,
)
from tests.documents.some_jobs import NOW, documents


def test_what_is_over_is_counted_and_needed_no_more(store: JobStore):
    first = store.create(owner="anna", input_file="file-1")
    store.create(owner="ben", input_file="file-2")
    assert (count_unfinished(store.tables), count_unfinished(store.tables, "anna")) == (2, 1)
    assert is_needed(store.tables, "file-1") and not is_needed(store.tables, "file-3")
    store.fail(first.id, [])

    assert (count_unfinished(store.tables), count_unfinished(store.tables, "anna")) == (1, 0)
    assert not is_needed(store.tables, "file-1")


def test_only_what_is_over_and_has_an_owner_is_swept(store: JobStore):
    """Jobs of the command line are their user's: they may be run again."""
    ids = {}
    for owner in ("anna", ""):
        ids[owner] = store.create(owner=owner).id
        store.add_documents(ids[owner], documents(1))
        store.cancel(ids[owner])
    assert kept_for_nothing(store.tables) == over_since(store.tables, NOW + 1) == []
    for job_id in ids.values():
        store.give_up(job_id, code="x", message="x")
        store.set_state(job_id, JobState.CANCELLED)

    assert kept_for_nothing(store.tables) == over_since(store.tables, NOW + 1) == [ids["anna"]]


def test_jobs_are_over_since_they_were_made(store: JobStore):
    job = store.create(owner="anna")
    store.fail(job.id, [])

    assert over_since(store.tables, NOW) == [] and over_since(store.tables, NOW + 1) == [job.id]


def test_turns_go_to_jobs_of_owners_that_are_not_over(store: JobStore):
    """Oldest first. Settings of any kind, also damaged ones, stop no other job."""
    store.create(settings={"model": "a"})
    models = ["a", "", ""]
    jobs = [store.create(owner="anna", settings=one) for one in ({"model": "a"}, {"model": 1}, {})]
    store.fail(store.create(owner="ben").id, [])
    with store.tables.transaction() as connection:
        connection.execute("UPDATE jobs SET settings = '{' WHERE id = ?", (jobs[2].id,))

    found = unfinished(store.tables, limit=9)
    assert [(one.id, one.owner, one.model) for one in found] == [
        (job.id, "anna", model) for job, model in zip(jobs, models, strict=True)
    ]
    assert [one.id for one in unfinished(store.tables, limit=1)] == [jobs[0].id]
