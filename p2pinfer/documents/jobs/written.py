"""How far a file that a job writes is, as the store remembers it."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.documents.jobs.changes import serial_of
from p2pinfer.documents.jobs.rows import from_json, to_json
from p2pinfer.documents.jobs.tables import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The beginning of a file that is on the disk for certain."""

    path: str
    bytes: int = 0
    crc32: int = 0
    """Of these bytes."""
    place: int = 0
    """Of the last outcome in them."""


def written(tables: Tables, job_id: str, kind: str) -> Written | None:
    """What was noted last; None: nothing yet. Raises JobError if there is no such job."""
    query = "SELECT path, bytes, crc32, place FROM outputs WHERE job = ? AND kind = ?"
    rows = tables.rows(query, (tables.serial(job_id), kind))
    if not rows:
        return None
    path, size, crc32, place = rows[0]
    return Written(path=from_json(path), bytes=size, crc32=crc32, place=place)


def note_written(tables: Tables, job_id: str, kind: str, now: Written) -> None:
    """Remember how far a file is."""
    with tables.transaction() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO outputs (job, kind, path, bytes, crc32, place) VALUES (?, ?, ?, ?, ?, ?)",
            (serial_of(connection, job_id), kind, to_json(now.path), now.bytes, now.crc32, now.place),
        )
