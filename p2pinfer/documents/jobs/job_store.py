"""The file that keeps jobs, their documents and what came of these: one SQLite file for all processes.

The command that runs a job, `status` in another terminal and a gateway use it at the same time. What a method
has written when it returns survives a SIGKILL and a power cut. Each document gets one outcome, whoever hands
in how many: the first one stays.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Self

from p2pinfer.documents.jobs.changes import add, add_spent, batches, keep, serial_of, step
from p2pinfer.documents.jobs.claims import Claim, Claims
from p2pinfer.documents.jobs.job import Document, Finished, Job, JobState, Outcome, Spent
from p2pinfer.documents.jobs.rows import (
    JOB_COLUMNS,
    checked_budget,
    checked_time,
    document_of,
    finished_of,
    from_json,
    is_job_id,
    job_of,
    to_json,
)
from p2pinfer.documents.jobs.tables import Tables, no_job
from p2pinfer.errors import JobError
from p2pinfer.folders import user_data_folder

_ROWS_AT_ONCE = 5_000
"""That are given up or deleted in one transaction."""
_PAUSE_SECONDS = 0.11
"""Between deletions: SQLite looks every tenth of a second whether another process has stopped writing."""


def default_store_path() -> Path:
    """Where this user's jobs are."""
    return user_data_folder() / "documents" / "jobs.sqlite"


class JobStore:
    """The jobs of one user of this machine, or of one gateway.

    Any thread may use it, several at once. Methods raise JobStoreError if the file can't be read or written,
    and then have written nothing; JobError for a job that isn't there, or that can't do this in its state.
    """

    def __init__(self, tables: Tables) -> None:
        """Use `open` instead."""
        self.tables = tables
        self._claims = Claims(tables.path.with_name(f"{tables.path.name}-claims"))

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], float] = time.time) -> Self:
        """Open the store at `path`, or make it. Raises JobStoreError, which names the file."""
        return cls(Tables.open(path, now=now))

    def close(self) -> None:
        """Close the file. Claims stay until they are released."""
        self.tables.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(
        self,
        *,
        owner: str = "",
        url: str = "",
        expires_at: float | None = None,
        most_layer_tokens: int | None = None,
        metadata: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        input_file: str | None = None,
        job_id: str | None = None,
    ) -> Job:
        """Make a job, which is VALIDATING. Raises JobError if there is one with this id."""
        job_id = job_id or f"batch_{secrets.token_hex(16)}"
        if not is_job_id(job_id):
            raise JobError(f"{job_id!r} isn't the id of a job: batch_ and 32 hexadecimal digits")
        at = self.tables.now()
        row = (
            *(job_id, to_json(owner), to_json(url), JobState.VALIDATING, to_json({JobState.VALIDATING: at})),
            *(checked_budget(most_layer_tokens), at, checked_time(expires_at)),
            *(to_json(dict(metadata or {})), to_json(dict(settings or {})), to_json(input_file)),
        )
        columns = (
            "id, owner, url, state, times, most_layer_tokens, created_at, expires_at, "
            "metadata, settings, input_file"
        )
        with self.tables.transaction() as connection:
            if connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone():
                raise JobError(f"job {job_id} is there already")
            connection.execute(f"INSERT INTO jobs ({columns}) VALUES ({', '.join('?' * len(row))})", row)
        return self.known(job_id)

    def add_documents(self, job_id: str, documents: Iterable[Document]) -> None:
        """Add documents to a job that is VALIDATING. Their numbers differ, and are usually 0, 1, 2 and so on.

        They are written as they come, some thousand at a time. What `documents` raises is raised, and what
        came before it may be written: the job can then only be failed or deleted.
        """
        for rows in batches(documents):
            with self.tables.transaction() as connection:
                add(connection, serial_of(connection, job_id, JobState.VALIDATING), rows)

    def fail(self, job_id: str, problems: Sequence[Mapping[str, Any]]) -> Job:
        """End a job that is VALIDATING: nothing of its input can be used, for these reasons."""
        words = to_json([dict(problem) for problem in problems])
        with self.tables.transaction() as connection:
            serial = self._step(connection, job_id, JobState.FAILED)
            connection.execute("UPDATE jobs SET problems = ? WHERE serial = ?", (words, serial))
        return self.known(job_id)

    def begin(self, job_id: str, *, layers: int) -> Job:
        """Start a job that is VALIDATING and whose documents are all there: it is IN_PROGRESS now."""
        with self.tables.transaction() as connection:
            serial = self._step(connection, job_id, JobState.IN_PROGRESS)
            connection.execute("UPDATE jobs SET layers = ? WHERE serial = ?", (layers, serial))
        return self.known(job_id)

    def job(self, job_id: str) -> Job | None:
        """A job as it is now; None if there is no such job."""
        if not is_job_id(job_id):
            return None
        rows = self.tables.rows(f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?", (job_id,))
        return self._job_of(rows[0]) if rows else None

    def known(self, job_id: str) -> Job:
        """A job as it is now. Raises JobError if there is no such job."""
        job = self.job(job_id)
        if job is None:
            raise no_job(job_id)
        return job

    def jobs(
        self,
        *,
        owner: str | None = None,
        limit: int = 20,
        after: str | None = None,
        states: Collection[JobState] | None = None,
    ) -> list[Job]:
        """The newest jobs first: those of an owner, in some states, older than job `after`; None: all.

        Raises JobError if there is no job `after`.
        """
        conditions, values = ["true"], list[object]()
        if states is not None:
            conditions.append(f"state IN ({', '.join('?' * len(states))})")
            values.extend(states)
        if owner is not None:
            conditions.append("owner = ?")
            values.append(to_json(owner))
        if after is not None:
            conditions.append("serial < ?")
            values.append(self.tables.serial(after))
        query = (
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE {' AND '.join(conditions)} ORDER BY serial DESC LIMIT ?"
        )
        return [self._job_of(row) for row in self.tables.rows(query, (*values, limit))]

    def claim(self, job_id: str, runner: str) -> Claim:
        """Claim a job for the one that runs it, also before it is made. A context manager.

        The kernel frees the claim when the process ends. Raises JobError if another one runs the job, in this
        process or in another, and names it.
        """
        if not is_job_id(job_id):
            raise no_job(job_id)
        return self._claims.take(job_id, runner)

    def waiting(self, job_id: str, *, after: int = -1, limit: int) -> list[Document]:
        """Documents without an outcome whose number is greater than `after`, in order."""
        query = (
            "SELECT waiting.number, custom_id, url, body, attempts "
            "FROM waiting JOIN documents USING (job, number) "
            "WHERE waiting.job = ? AND waiting.number > ? ORDER BY waiting.number LIMIT ?"
        )
        return [
            document_of(row) for row in self.tables.rows(query, (self.tables.serial(job_id), after, limit))
        ]

    def note_attempts(self, job_id: str, errors: Mapping[int, str]) -> None:
        """Note for documents, by their numbers, that each was tried without an end, and why."""
        with self.tables.transaction() as connection:
            serial = serial_of(connection, job_id)
            connection.executemany(
                "UPDATE waiting SET attempts = attempts + 1, last_error = ? WHERE job = ? AND number = ?",
                [(to_json(error), serial, number) for number, error in errors.items()],
            )

    def finish(self, job_id: str, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes, all or none. An outcome that a document has already stays.

        Raises JobError if the job has no such document, or is still VALIDATING, or if a body isn't JSON.
        """
        rows = [(outcome, to_json(outcome.body, is_strict=True)) for outcome in outcomes]
        with self.tables.transaction() as connection:
            serial = serial_of(connection, job_id, *(set(JobState) - {JobState.VALIDATING}))
            kept = [outcome for outcome, body in rows if keep(connection, serial, outcome, body)]
            answers = sum(outcome.is_answer for outcome in kept)
            connection.execute(
                "UPDATE jobs SET completed = completed + ?, failed = failed + ? WHERE serial = ?",
                (answers, len(kept) - answers, serial),
            )
            add_spent(connection, serial, sum((outcome.spent for outcome in kept), Spent()))

    def give_up(self, job_id: str, *, code: str, message: str) -> None:
        """Give every document without an outcome an error with status 0: it was never answered."""
        body = to_json({"error": {"code": code, "message": message}})
        kept = _ROWS_AT_ONCE
        while kept == _ROWS_AT_ONCE:
            with self.tables.transaction() as connection:
                serial = serial_of(connection, job_id, JobState.FINALIZING, JobState.CANCELLING)
                numbers = connection.execute(
                    "SELECT number FROM waiting WHERE job = ? ORDER BY number LIMIT ?",
                    (serial, _ROWS_AT_ONCE),
                ).fetchall()
                for [number] in numbers:
                    keep(connection, serial, Outcome(number=number, status=0, body={}), body)
                kept = len(numbers)
                connection.execute("UPDATE jobs SET failed = failed + ? WHERE serial = ?", (kept, serial))

    def has_given_up(self, job_id: str) -> bool:
        """True if some documents were never answered."""
        query = "SELECT 1 FROM outcomes WHERE job = ? AND is_error = 1 AND status = 0 LIMIT 1"
        return bool(self.tables.rows(query, (self.tables.serial(job_id),)))

    def keep_part(self, job_id: str, number: int, part: str, text: str, spent: Spent) -> None:
        """Keep a piece of a long document's answer, and count what it took. A piece that is there stays."""
        with self.tables.transaction() as connection:
            serial = serial_of(connection, job_id)
            waits = connection.execute(
                "SELECT 1 FROM waiting WHERE job = ? AND number = ?", (serial, number)
            ).fetchone()
            if waits:
                row = (serial, number, to_json(part), to_json(text))
                connection.execute("INSERT OR IGNORE INTO parts VALUES (?, ?, ?, ?)", row)
                add_spent(connection, serial, spent)

    def parts(self, job_id: str, number: int) -> dict[str, str]:
        """The pieces of a document that were kept. They go when the document has its outcome."""
        return self.parts_between(job_id, number, number).get(number, {})

    def parts_between(self, job_id: str, first: int, last: int) -> dict[int, dict[str, str]]:
        """The pieces of the documents with these numbers, by number; those that have some."""
        query = "SELECT number, part, text FROM parts WHERE job = ? AND number BETWEEN ? AND ?"
        found: dict[int, dict[str, str]] = {}
        for number, part, text in self.tables.rows(query, (self.tables.serial(job_id), first, last)):
            found.setdefault(number, {})[from_json(part)] = from_json(text)
        return found

    def set_state(self, job_id: str, state: JobState) -> Job:
        """Take a job to another state. Raises JobError for a step that the states don't have."""
        with self.tables.transaction() as connection:
            self._step(connection, job_id, state)
        return self.known(job_id)

    def cancel(self, job_id: str) -> Job:
        """Ask whoever runs the job to end it. If nobody does, `run_job` or `wind_up` ends it later.

        Raises JobError if it is over, or FINALIZING. Cancelling twice is harmless.
        """
        job = self.known(job_id)
        return job if job.state is JobState.CANCELLING else self.set_state(job_id, JobState.CANCELLING)

    def set_budget(self, job_id: str, most_layer_tokens: int | None) -> Job:
        """Change how much a job may spend."""
        return self._set(job_id, most_layer_tokens=checked_budget(most_layer_tokens))

    def set_files(self, job_id: str, *, output_file: str | None, error_file: str | None) -> Job:
        """Say where the answers and errors are."""
        return self._set(job_id, output_file=to_json(output_file), error_file=to_json(error_file))

    def set_waiting_for(self, job_id: str, words: str) -> Job:
        """Say why the runner waits for the swarm, for `status` in another process; empty: it doesn't."""
        return self._set(job_id, waiting_for=to_json(words))

    def outcomes(self, job_id: str, *, after: int = 0, limit: int, errors: bool) -> list[Finished]:
        """Answers, or errors, in the order of finishing; those whose place is greater than `after`."""
        query = (
            "SELECT place, custom_id, number, status, outcomes.body, prefill_tokens, cached_tokens, "
            "decode_tokens FROM outcomes JOIN documents USING (job, number) "
            "WHERE outcomes.job = ? AND is_error = ? AND place > ? ORDER BY place LIMIT ?"
        )
        rows = self.tables.rows(query, (self.tables.serial(job_id), errors, after, limit))
        return [finished_of(row) for row in rows]

    def forget_documents(self, job_id: str) -> None:
        """Forget the documents of a job that is over, and their outcomes: they are in files. Counts stay."""
        job = self.known(job_id)
        if not job.state.is_over:
            raise JobError(f"job {job_id} is {job.state}: it needs its documents")
        self._clear(self.tables.serial(job_id))

    def delete(self, job_id: str, *, claim: Claim | None = None) -> None:
        """Forget a job with all that it has. Files that it wrote stay.

        Raises JobError if somebody runs it, unless that is the caller, who has its claim.
        """
        with nullcontext() if claim else self.claim(job_id, "one that deletes it"):
            with self.tables.transaction() as connection:
                serial = serial_of(connection, job_id)
                connection.execute("DELETE FROM jobs WHERE serial = ?", (serial,))
                connection.execute("INSERT INTO gone VALUES (?)", (serial,))
        for [one] in self.tables.rows("SELECT job FROM gone"):  # also of a process that was killed here
            self._clear(one)

    def _clear(self, serial: int) -> None:
        for table, row in (
            *(("waiting", "(job, number)"), ("outputs", "(job, kind)")),
            *(("parts", "rowid"), ("outcomes", "rowid"), ("documents", "rowid")),
        ):
            piece = f"SELECT {row.strip('()')} FROM {table} WHERE job = ? LIMIT {_ROWS_AT_ONCE}"
            deleted = _ROWS_AT_ONCE
            while deleted == _ROWS_AT_ONCE:
                with self.tables.transaction() as connection:
                    query = f"DELETE FROM {table} WHERE {row} IN ({piece})"
                    deleted = connection.execute(query, (serial,)).rowcount
                if deleted == _ROWS_AT_ONCE:
                    time.sleep(_PAUSE_SECONDS)
        with self.tables.transaction() as connection:
            connection.execute("DELETE FROM gone WHERE job = ?", (serial,))

    def _set(self, job_id: str, **columns: object) -> Job:
        with self.tables.transaction() as connection:
            serial = serial_of(connection, job_id)
            changes = ", ".join(f"{column} = ?" for column in columns)
            connection.execute(f"UPDATE jobs SET {changes} WHERE serial = ?", (*columns.values(), serial))
        return self.known(job_id)

    def _step(self, connection: Connection, job_id: str, state: JobState) -> int:
        return step(connection, job_id, state, self.tables.now())

    def _job_of(self, row: tuple[Any, ...]) -> Job:
        job = job_of(row)
        runner = "" if job.state.is_over else self._claims.holder(job.id)
        return replace(job, runner=runner, waiting_for=job.waiting_for if runner else "")
