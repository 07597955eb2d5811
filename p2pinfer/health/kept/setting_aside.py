"""Opens a file that the page can do without: a damaged one is set aside, and an empty one takes its place."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from p2pinfer.database import Database, Kind
from p2pinfer.errors import DatabaseError

logger = logging.getLogger(__name__)

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_or_set_aside(path: Path, kind: Kind) -> Database:
    """Open the file at `path`, or make it; a damaged one is kept beside it under another name.

    Raises DatabaseError, naming the file, if it is something else, newer, or can't be written.
    """
    try:
        return Database.open(path, kind)
    except DatabaseError as error:
        if not _is_damaged(path, error):
            raise
        aside = _set_aside(path)
        logger.warning(
            "%s %s is damaged: it is kept as %s, and a new one begins", kind.name, path, aside.name
        )
    return Database.open(path, kind)


def _is_damaged(path: Path, error: DatabaseError) -> bool:
    cause = error.__cause__
    if isinstance(cause, sqlite3.DatabaseError):
        # Without a code it is what SQLite's own check of the file has found.
        return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DAMAGED
    return path.is_file() and path.stat().st_size == 0  # to SQLite, an empty file is a good one


def _set_aside(path: Path) -> Path:
    """Move it and what SQLite keeps beside it, which must not be read into a new one."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.replace(aside.with_name(aside.name + suffix))
    return aside
