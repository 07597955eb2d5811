"""An SQLite file that survives a kill at any moment, and that several processes may write to.

A committed transaction is on the disk. A new file appears complete or not at all: it is made under another
name in the same folder and then linked to its own name. A file that an older p2pinfer wrote is brought up to
the present version in one transaction.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from p2pinfer.errors import DatabaseError
from p2pinfer.private_files import make_private_folder

BUSY_SECONDS = 10.0
"""How long to wait while another process writes. A write takes milliseconds."""

_OLDEST_SQLITE = (3, 37, 0)  # the first with STRICT tables


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """One kind of database file: how to recognize it and what it contains."""

    name: str  # the name in messages: `ledger`
    application_id: int  # differs from the id of every other SQLite file
    version: int
    schema: str
    upgrades: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """For a version, the statements that make the next one of it. Programs of the older version may have the
    file open meanwhile, and go on writing: so upgrades add tables, and change none."""
    error: type[DatabaseError] = DatabaseError  # what is raised about a file of this kind
    is_checked_at_opening: bool = True
    """Whether opening reads the whole file, to find damage at once: seconds where files grow to gigabytes."""


class Database:
    """One file, open for reading and writing. Any thread may use it, but only one thread at a time."""

    def __init__(self, path: Path, kind: FileKind, connection: sqlite3.Connection) -> None:
        """Use `open` or `copy_of` instead."""
        self.path = path
        self._kind = kind
        self._connection = connection

    @classmethod
    def open(cls, path: Path, kind: FileKind) -> Database:
        """Open the file at `path`, or make it. Only the file's owner can read a new file.

        A file of an older version is upgraded. Raises the kind's DatabaseError, naming the file, if the file
        is of another kind, damaged, of a version that can't be upgraded, or can't be written.
        """
        _check_sqlite(path, kind)
        with _errors(path, kind):
            if not path.exists():
                _create(path, kind)
            connection = _connect(path)
        try:
            with _errors(path, kind):
                _check(connection, path, kind)
                _upgrade(connection, path, kind)
        except DatabaseError:
            connection.close()
            raise
        return cls(path, kind, connection)

    @classmethod
    def copy_of(cls, path: Path, kind: FileKind) -> Database:
        """A temporary copy of the file at `path`, which is not changed. Empty if there is no such file.

        The copy is of the present version, also if the file is older.
        """
        _check_sqlite(path, kind)
        connection = sqlite3.connect("", isolation_level=None)  # SQLite moves a large one to a temporary file
        try:
            if path.exists():
                with _errors(path, kind), closing(_connect(path)) as original:
                    _check(original, path, kind)
                    original.backup(connection)
                    _upgrade(connection, path, kind)
            else:
                connection.executescript(kind.schema)
        except DatabaseError:
            connection.close()
            raise
        return cls(path, kind, connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write everything in the block to the disk, or nothing if the block raises.

        No other process can write during the block. Raises the kind's DatabaseError if the write fails.
        """
        with _errors(self.path, self._kind):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def rows(self, query: str, values: Sequence[object] = ()) -> Iterator[Any]:
        """The rows that a query finds, read one at a time. Raises the kind's DatabaseError."""
        with _errors(self.path, self._kind), closing(self._connection.execute(query, values)) as cursor:
            yield from cursor


def _check_sqlite(path: Path, kind: FileKind) -> None:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise kind.error(f"{kind.name} {path}: SQLite 3.37 is needed, not {sqlite3.sqlite_version}")


def _create(path: Path, kind: FileKind) -> None:
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with closing(_connect(temporary)) as connection:
            connection.executescript(
                f"BEGIN; PRAGMA application_id = {kind.application_id}; PRAGMA user_version = {kind.version};"
                f"{kind.schema}; COMMIT;"
            )
            # Stored in the file. A later change would fail while another process has the file open.
            connection.execute("PRAGMA journal_mode = WAL")
        try:
            os.link(temporary, path)  # unlike a rename, this fails if another process was faster
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?mode=rw",  # never makes a file
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions begin and end with explicit statements
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous = FULL")  # with NORMAL a committed transaction may be lost
    connection.execute("PRAGMA fullfsync = ON")  # macOS: flush the disk's own cache too
    connection.execute("PRAGMA recursive_triggers = ON")  # so that INSERT OR REPLACE fires delete triggers
    return connection


def _check(connection: sqlite3.Connection, path: Path, kind: FileKind) -> None:
    [application_id] = connection.execute("PRAGMA application_id").fetchone()
    if application_id != kind.application_id:
        raise kind.error(f"{path} is not a {kind.name} of p2pinfer: move it away, or choose another folder")
    _check_version(connection, path, kind)
    damage = connection.execute("PRAGMA quick_check(1)").fetchone() if kind.is_checked_at_opening else ("ok",)
    if damage != ("ok",):
        raise sqlite3.DatabaseError(damage[0].splitlines()[-1])


def _check_version(connection: sqlite3.Connection, path: Path, kind: FileKind) -> int:
    """The file's version; an upgrade leads from it to the present one."""
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if not all(step in kind.upgrades for step in range(version, kind.version)) or version > kind.version:
        raise kind.error(
            f"{kind.name} {path} is of version {version}, and this p2pinfer knows version {kind.version}: "
            "install the p2pinfer that wrote it, or a newer one"
        )
    return int(version)


def _upgrade(connection: sqlite3.Connection, path: Path, kind: FileKind) -> None:
    """Bring a file of an older version up to the present one: wholly, or not at all."""
    if _check_version(connection, path, kind) == kind.version:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Once more: another process may have upgraded the file while this one waited for its turn.
        for version in range(_check_version(connection, path, kind), kind.version):
            for statement in kind.upgrades[version]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {kind.version}")  # a part of the transaction
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def _errors(path: Path, kind: FileKind) -> Iterator[None]:
    """Turn errors of SQLite and of the system into the kind's DatabaseError, which says what to do."""
    try:
        yield
    except OSError as error:
        raise kind.error(
            f"{kind.name} {path} can't be made or opened ({error.strerror}): check its folder"
        ) from error
    except sqlite3.IntegrityError as error:
        raise kind.error(f"{kind.name} {path} does not take this ({error})") from error
    except sqlite3.ProgrammingError:
        raise  # a wrong call, which is a fault of p2pinfer
    except sqlite3.DatabaseError as error:
        raise kind.error(f"{kind.name} {path} {_what_to_do(error)}") from error


def _what_to_do(error: sqlite3.DatabaseError) -> str:
    reason = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # the primary code
    if reason == sqlite3.SQLITE_BUSY:
        return f"has been held by another process for {BUSY_SECONDS:.0f} s: look for one that hangs"
    if reason == sqlite3.SQLITE_NOTADB:
        return "is not an SQLite file: move it away, or choose another folder"
    if reason == sqlite3.SQLITE_CORRUPT:
        return f"is damaged ({error}): restore a backup, or move it away with its -wal and -shm files"
    return f"can't be read or written ({error}): check its permissions and the disk"
