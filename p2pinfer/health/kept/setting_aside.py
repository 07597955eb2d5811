"""Opens a file that the page can do without. A damaged file is set aside, and an empty one replaces it."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from p2pinfer.database import Database, FileKind
from p2pinfer.errors import DatabaseError

logger = logging.getLogger(__name__)

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_or_set_aside(path: Path, kind: FileKind) -> Database:
    """Open the file at `path`, or create it. A damaged file is kept beside it under another name.

    Raises DatabaseError, naming the file, if it is of another kind or a newer version, or can't be written.
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
        # An error without a code comes from SQLite's own check of the file.
        return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DAMAGED
    return path.is_file() and path.stat().st_size == 0  # SQLite accepts an empty file


def _set_aside(path: Path) -> Path:
    """Move the file, and the files that SQLite keeps beside it: a new database must not read them."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.replace(aside.with_name(aside.name + suffix))
    return aside
