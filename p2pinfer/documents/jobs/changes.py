"""Changes to the tables of jobs, each a part of a transaction that the caller has begun."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from sqlite3 import Connection

from p2pinfer.documents.jobs.job import Document, JobState, Outcome, Spent
from p2pinfer.documents.jobs.rows import MOST_INTEGER, from_json, is_job_id, to_json
from p2pinfer.documents.jobs.tables import no_job
from p2pinfer.errors import JobError

_DOCUMENTS_AT_ONCE = 2_000
_CHARACTERS_AT_ONCE = 8_000_000
"""Of documents in one transaction: other processes wait for it, and it lies in memory."""

DocumentRow = tuple[int, str, str, str]  # number, custom_id, url, body


def batches(documents: Iterable[Document]) -> Iterator[list[DocumentRow]]:
    """Documents as rows, so many as fit one transaction. Raises JobError for one that can't be kept."""
    batch: list[DocumentRow] = []
    characters = 0
    for one in documents:
        if not 0 <= one.number <= MOST_INTEGER:
            raise JobError(f"a document's number is from 0 to {MOST_INTEGER:,}, not {one.number}")
        batch.append((one.number, to_json(one.custom_id), to_json(one.url), to_json(one.body)))
        characters += sum(map(len, batch[-1][1:]))
        if len(batch) == _DOCUMENTS_AT_ONCE or characters >= _CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def serial_of(connection: Connection, job_id: str, *states: JobState) -> int:
    """The key of a job. Raises JobError if it isn't there, or in none of the states, if any are given."""
    row = None
    if is_job_id(job_id):
        row = connection.execute("SELECT serial, state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise no_job(job_id)
    serial, state = row
    if states and state not in states:
        raise JobError(f"job {job_id} is {state}, which has no such step")
    return int(serial)


def add(connection: Connection, serial: int, rows: list[DocumentRow]) -> None:
    """Add documents. Raises JobError if one has the number of another."""
    # Looked up first: a failed insert would be an error of the file, which names no document.
    for number, *_ in rows:
        if connection.execute(
            "SELECT 1 FROM waiting WHERE job = ? AND number = ?", (serial, number)
        ).fetchone():
            raise JobError(f"the job has a document with number {number} already")
        connection.execute("INSERT INTO waiting (job, number) VALUES (?, ?)", (serial, number))
    connection.executemany(
        "INSERT INTO documents (job, number, custom_id, url, body) VALUES (?, ?, ?, ?, ?)",
        ((serial, *row) for row in rows),
    )
    connection.execute("UPDATE jobs SET total = total + ? WHERE serial = ?", (len(rows), serial))


def step(connection: Connection, job_id: str, state: JobState, now: float) -> int:
    """Take a job to another state; returns its key. Raises JobError for a step that the states don't have."""
    serial = serial_of(connection, job_id)
    old, words, waiting = connection.execute(
        "SELECT state, times, total - completed - failed FROM jobs WHERE serial = ?", (serial,)
    ).fetchone()
    if not JobState(old).may_become(state):
        raise JobError(f"job {job_id} is {old}: it can't become {state}")
    if waiting and state in (JobState.COMPLETED, JobState.EXPIRED, JobState.CANCELLED):
        raise JobError(f"job {job_id} can't become {state}: {waiting:,} of its documents have no outcome")
    times = from_json(words)
    times[state] = max(now, *times.values())  # a clock that was set back
    connection.execute(
        "UPDATE jobs SET state = ?, times = ? WHERE serial = ?", (state, to_json(times), serial)
    )
    return serial


def keep(connection: Connection, serial: int, outcome: Outcome, body: str) -> bool:
    """Keep an outcome, whose body is given as JSON. False if the document has one already.

    Raises JobError if the job has no such document.
    """
    key = (serial, outcome.number)
    if connection.execute("DELETE FROM waiting WHERE job = ? AND number = ?", key).rowcount == 0:
        if connection.execute("SELECT 1 FROM outcomes WHERE job = ? AND number = ?", key).fetchone():
            return False
        raise JobError(f"the job has no document with number {outcome.number}")
    spent = outcome.spent
    connection.execute(
        "INSERT INTO outcomes (job, number, status, body, prefill_tokens, cached_tokens, decode_tokens) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*key, outcome.status, body, spent.prefill_tokens, spent.cached_tokens, spent.decode_tokens),
    )
    connection.execute("DELETE FROM parts WHERE job = ? AND number = ?", key)
    return True


def add_spent(connection: Connection, serial: int, spent: Spent) -> None:
    """Count what a job took."""
    connection.execute(
        "UPDATE jobs SET prefill_tokens = prefill_tokens + ?, cached_tokens = cached_tokens + ?, "
        "decode_tokens = decode_tokens + ? WHERE serial = ?",
        (spent.prefill_tokens, spent.cached_tokens, spent.decode_tokens, serial),
    )
