"""What the store of jobs takes, keeps, refuses and gives back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from p2pinfer.documents.jobs.job import Counts, Document, JobState, Outcome, Spent
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.errors import JobError
from tests.documents.jobs.strange import STRANGE
from tests.documents.some_jobs import NOW, answer, begun, documents, error


def test_a_job_reads_as_it_was_made(store: JobStore, path: Path):
    """Also after opening the file again."""
    made = store.create(
        owner="key-1",
        url="/v1/embeddings",
        expires_at=NOW + 86_400,
        most_layer_tokens=2**63 - 1,
        metadata={STRANGE: STRANGE},
        settings={"prompt": STRANGE, "most": 10**400, "deep": [[{"a": None}]]},
        input_file="/tmp/\udcff",
    )

    with JobStore.open(path) as again:
        assert again.job(made.id) == made
    assert (made.state, made.counts, made.at) == (JobState.VALIDATING, Counts(), {JobState.VALIDATING: NOW})
    assert made.settings["most"] == 10**400 and made.input_file == "/tmp/\udcff"


def test_strange_text_in_documents_and_answers_stays_as_it_is(store: JobStore):
    """Surrogates, NULs, line separators, huge and not finite numbers."""
    job = store.create()
    body: dict[str, Any] = {"text": STRANGE, STRANGE: [1e308, -0.0, 10**300, float("inf")]}
    store.add_documents(job.id, [Document(number=2**40, custom_id=STRANGE, url=STRANGE, body=body)])
    store.begin(job.id, layers=1)

    [document] = store.waiting(job.id, limit=9)
    store.keep_part(job.id, 2**40, STRANGE, STRANGE, Spent())
    assert (document.custom_id, document.url, document.body) == (STRANGE, STRANGE, body)
    assert store.parts(job.id, 2**40) == {STRANGE: STRANGE}

    with pytest.raises(JobError, match="can't be kept as JSON"):
        store.finish(job.id, [Outcome(number=2**40, status=200, body=body)])
    body[STRANGE].pop()
    store.finish(job.id, [Outcome(number=2**40, status=200, body=body)])
    [finished] = store.outcomes(job.id, limit=9, errors=False)
    assert (finished.custom_id, finished.outcome.body) == (STRANGE, body)


def test_each_document_gets_one_outcome(store: JobStore):
    """The first one stays; counts and tokens are those of what was kept."""
    job = begun(store, 4)
    store.finish(job.id, [answer(2), error(0)])
    store.finish(job.id, [answer(2, "another"), answer(0), answer(3), answer(3, "twice")])

    now = store.job(job.id)
    assert now is not None
    assert now.counts == Counts(total=4, completed=2, failed=1) and now.counts.waiting == 1
    assert now.spent == Spent(prefill_tokens=14, decode_tokens=6) and now.layer_tokens == 600
    assert [document.number for document in store.waiting(job.id, limit=9)] == [1]
    answers = store.outcomes(job.id, limit=9, errors=False)
    assert [(one.custom_id, one.outcome) for one in answers] == [
        ("line-2", answer(2)),
        ("line-3", answer(3)),
    ]
    [failed] = store.outcomes(job.id, limit=9, errors=True)
    assert failed.outcome == error(0)


def test_outcomes_and_waiting_documents_are_read_in_pages(store: JobStore):
    """Each page goes on where the last one ended."""
    job = begun(store, 10)
    assert [one.number for one in store.waiting(job.id, after=3, limit=2)] == [4, 5]
    store.finish(job.id, [answer(number) for number in (9, 1, 5)])

    first = store.outcomes(job.id, limit=2, errors=False)
    second = store.outcomes(job.id, after=first[-1].place, limit=2, errors=False)
    assert [one.outcome.number for one in (*first, *second)] == [9, 1, 5]
    assert [one.number for one in store.waiting(job.id, after=3, limit=3)] == [4, 6, 7]


def test_an_outcome_for_a_document_that_is_not_there_is_refused_with_all_beside_it(store: JobStore):
    """All or none."""
    job = begun(store, 2)
    with pytest.raises(JobError, match="no document with number 2"):
        store.finish(job.id, [answer(0), answer(2)])

    assert [one.number for one in store.waiting(job.id, limit=9)] == [0, 1]


def test_attempts_are_counted_until_there_is_an_outcome(store: JobStore):
    """Later ones are harmless."""
    job = begun(store, 2)
    store.note_attempts(job.id, {1: STRANGE})
    store.note_attempts(job.id, {0: "no route", 1: "again"})

    assert [one.attempts for one in store.waiting(job.id, limit=9)] == [1, 2]
    store.finish(job.id, [answer(0)])
    store.note_attempts(job.id, {0: "too late"})
    assert [one.number for one in store.waiting(job.id, limit=9)] == [1]


def test_parts_count_when_they_are_kept_and_go_with_the_outcome(store: JobStore):
    """A part that is there stays, and one of a document that has its outcome is dropped."""
    job = begun(store, 1)
    store.keep_part(job.id, 0, "map-1", "first", Spent(prefill_tokens=5, cached_tokens=2, decode_tokens=1))
    store.keep_part(job.id, 0, "map-1", "second", Spent(decode_tokens=1))
    assert store.parts(job.id, 0) == {"map-1": "first"}

    store.finish(job.id, [answer(0)])
    store.keep_part(job.id, 0, "map-2", "late", Spent(decode_tokens=50))
    now = store.job(job.id)
    assert now is not None
    assert now.spent == Spent(prefill_tokens=12, cached_tokens=2, decode_tokens=5)
    assert store.parts(job.id, 0) == {}


def test_jobs_are_listed_newest_first_in_pages(store: JobStore):
    """Those of one owner, those in some states, those older than another."""
    mine = [store.create(owner="me").id for _ in range(3)]
    theirs = store.create(owner="them").id
    store.fail(mine[1], [])

    assert [job.id for job in store.jobs()] == [theirs, *reversed(mine)]
    assert [job.id for job in store.jobs(owner="me", limit=2)] == [mine[2], mine[1]]
    assert [job.id for job in store.jobs(owner="me", after=mine[1])] == [mine[0]]
    assert [job.id for job in store.jobs(states=[JobState.FAILED])] == [mine[1]]
    assert store.jobs(owner=STRANGE) == []
    with pytest.raises(JobError, match="there is no job 'batch_'"):
        store.jobs(after="batch_")


def test_the_budget_and_the_files_of_a_job_can_be_changed(store: JobStore):
    job = begun(store, 1, most_layer_tokens=5)
    assert job.most_layer_tokens == 5
    assert store.set_budget(job.id, None).most_layer_tokens is None
    named = store.set_files(job.id, output_file=STRANGE, error_file=None)
    assert (named.output_file, named.error_file) == (STRANGE, None)


@pytest.mark.parametrize("budget", [-1, 2**63])
def test_budgets_that_do_not_fit_are_refused(store: JobStore, budget: int):
    with pytest.raises(JobError, match="a budget of layer-tokens"):
        store.create(most_layer_tokens=budget)


@pytest.mark.parametrize("at", [float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(store: JobStore, at: float):
    with pytest.raises(JobError, match="isn't a time"):
        store.create(expires_at=at)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (Document(number=-1, custom_id="", url="", body={}), "a document's number"),
        (Document(number=2**63, custom_id="", url="", body={}), "a document's number"),
        (Document(number=0, custom_id="", url="", body={}), "number 0 already"),
        (Document(number=1, custom_id="", url="", body={"x": 10**5000}), "can't be kept as JSON"),
        (Document(number=1, custom_id="", url="", body={"x": object()}), "can't be kept as JSON"),
    ],
)
def test_documents_that_can_not_be_kept_are_refused(store: JobStore, document: Document, words: str):
    job = store.create()
    store.add_documents(job.id, documents(1))
    with pytest.raises(JobError, match=words):
        store.add_documents(job.id, [document])

    store.begin(job.id, layers=1)
    assert len(store.waiting(job.id, limit=9)) == 1


@pytest.mark.parametrize("job_id", ["", "batch_", "batch_" + "0" * 32, STRANGE, "../../etc/passwd"])
def test_a_job_that_is_not_there_is_named(store: JobStore, job_id: str):
    """None where a job is asked for, an error everywhere else."""
    assert store.job(job_id) is None
    for use in (
        lambda: store.begin(job_id, layers=1),
        lambda: store.add_documents(job_id, documents(1)),
        lambda: store.waiting(job_id, limit=1),
        lambda: store.cancel(job_id),
        lambda: store.delete(job_id),
        lambda: store.finish(job_id, []),
        lambda: store.outcomes(job_id, limit=1, errors=True),
    ):
        with pytest.raises(JobError, match="there is no job"):
            use()


def test_a_job_can_have_an_id_that_was_chosen(store: JobStore):
    """Once, and only of the right form."""
    chosen = "batch_" + "0af" * 10 + "42"
    assert store.create(job_id=chosen).id == chosen
    with pytest.raises(JobError, match="there already"):
        store.create(job_id=chosen)
    with pytest.raises(JobError, match="isn't the id of a job"):
        store.create(job_id="../x")


def test_a_deleted_job_leaves_nothing(store: JobStore, path: Path):
    """The others stay, and what a killed process left is cleared."""
    gone, stays = begun(store, 5), begun(store, 5)
    for job in (gone, stays):
        store.finish(job.id, [answer(0), error(1)])
        store.keep_part(job.id, 2, "a", "b", Spent())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO gone VALUES (77)")
        connection.execute("INSERT INTO waiting (job, number) VALUES (77, 1)")
    store.delete(gone.id)

    assert store.job(gone.id) is None
    assert [job.id for job in store.jobs()] == [stays.id]
    with closing(sqlite3.connect(path)) as connection:
        for table, rows in {"documents": 5, "waiting": 3, "outcomes": 2, "parts": 1, "gone": 0}.items():
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,)
