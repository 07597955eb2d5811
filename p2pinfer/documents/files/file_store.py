"""Files on disk, beside the store of jobs: bytes in a folder, and a row for each in its SQLite file.

The bytes come first and go last, so a row always has its bytes. What a kill leaves behind, bytes without a
row, goes with `sweep`. Any thread may use a store, and several processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from p2pinfer.documents.files.stored_file import FileLimits, Purpose, StoredFile, Totals
from p2pinfer.documents.jobs.tables import Tables
from p2pinfer.errors import UsageError
from p2pinfer.private_files import make_private_folder

_COLUMNS = "id, owner, purpose, name, bytes, created_at, expires_at"
_IS_FRESH = "(expires_at IS NULL OR expires_at > ?)"
_ID = re.compile(r"file-[0-9a-f]{32}")
_INCOMING = ".incoming-"
_LEFT_OVER_SECONDS = 3_600.0
"""Bytes without a row that nobody has written to for so long have no owner any more."""


class FilesFullError(UsageError):
    """A file can't be kept, because there are too many, or they take too much."""


class FileGoneError(UsageError):
    """A file isn't there any more, or never was."""


class IncomingFile:
    """Bytes that are still coming. Leaving the block without `FileStore.keep` deletes them."""

    def __init__(self, folder: Path) -> None:
        """Make an empty file that only its owner can read. Raises OSError."""
        self.path = folder / f"{_INCOMING}{secrets.token_hex(16)}"
        self.size_bytes = 0
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)

    def write(self, data: bytes) -> None:
        """Add bytes. Raises OSError, as when the disk is full."""
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            self.size_bytes += written or 0
            view = view[written or 0 :]

    def finish(self) -> None:
        """Bring everything to the disk. Raises OSError."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # of a full disk, once more
            self._file.close()
        self.path.unlink(missing_ok=True)


class FileStore:
    """The files of one store of jobs."""

    def __init__(self, tables: Tables, folder: Path) -> None:
        """Use `open` instead."""
        self.folder = folder
        self._tables = tables

    @classmethod
    def open(cls, tables: Tables) -> Self:
        """The files of a store of jobs: in a folder beside its SQLite file. Raises UsageError."""
        folder = tables.path.with_name("files")
        try:
            make_private_folder(folder)
        except OSError as error:
            raise UsageError(f"{folder} can't be made: {error.strerror or error}") from error
        return cls(tables, folder)

    def incoming(self) -> IncomingFile:
        """A file to write to, for `keep`. Raises OSError."""
        return IncomingFile(self.folder)

    def keep(
        self,
        incoming: IncomingFile,
        *,
        owner: str,
        purpose: Purpose,
        name: str,
        lasts_seconds: float | None,
        limits: FileLimits | None = None,
        file_id: str | None = None,
    ) -> StoredFile:
        """Keep a file that has come as a whole. With `file_id` it takes the place of one of that id.

        Raises FilesFullError if `limits` don't allow it, OSError and DatabaseError.
        """
        incoming.finish()
        now = self._tables.now()
        file = StoredFile(
            id=file_id or new_file_id(),
            owner=owner,
            purpose=purpose,
            name=name,
            size_bytes=incoming.size_bytes,
            created_at=now,
            expires_at=None if lasts_seconds is None else now + lasts_seconds,
        )
        with self._tables.transaction() as connection:
            if limits is not None:
                # Within the transaction: another gateway may keep files at the same time.
                full = limits.refusal(
                    owner=_totals(connection.execute, owner),
                    everybody=_totals(connection.execute),
                    size_bytes=file.size_bytes,
                )
                if full:
                    raise FilesFullError(full)
            os.replace(incoming.path, self.path_of(file.id))
            self._sync_folder()
            connection.execute(
                f"INSERT OR REPLACE INTO files ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (file.id, owner, purpose, name, file.size_bytes, file.created_at, file.expires_at),
            )
        return file

    def file(self, file_id: str, *, owner: str) -> StoredFile | None:
        """The file of this id, if it is the owner's and hasn't expired."""
        query = f"SELECT {_COLUMNS} FROM files WHERE id = ? AND owner = ? AND {_IS_FRESH}"
        return next(iter(self._read(query, (file_id, owner, self._tables.now()))), None)

    def files(
        self,
        *,
        owner: str,
        limit: int,
        after: str | None = None,
        newest_first: bool = True,
        purpose: str | None = None,
    ) -> list[StoredFile]:
        """The owner's files in the order in which they came, those that come `after` a file of his.

        Raises FileGoneError if he has no such file.
        """
        conditions, values = [f"owner = ? AND {_IS_FRESH}"], list[object]((owner, self._tables.now()))
        if purpose is not None:
            conditions.append("purpose = ?")
            values.append(purpose)
        if after is not None:
            place = self._tables.rows("SELECT serial FROM files WHERE id = ? AND owner = ?", (after, owner))
            if not place:
                raise FileGoneError(f"there is no file '{after}'")
            conditions.append("serial < ?" if newest_first else "serial > ?")
            values.append(place[0][0])
        order = "DESC" if newest_first else "ASC"
        return self._read(
            f"SELECT {_COLUMNS} FROM files WHERE {' AND '.join(conditions)} ORDER BY serial {order} LIMIT ?",
            (*values, limit),
        )

    def totals(self, owner: str | None = None) -> Totals:
        """How much one owner has, or everybody."""
        return _totals(self._tables.rows, owner)

    def delete(self, file_id: str) -> None:
        """Forget a file. Who reads it now still gets all of it. No error if there is none."""
        if not _ID.fullmatch(file_id):
            return
        with self._tables.transaction() as connection:
            connection.execute("DELETE FROM files WHERE id = ?", (file_id,))
        self.path_of(file_id).unlink(missing_ok=True)

    def content(self, file_id: str) -> BinaryIO:
        """Its bytes, to be read from the beginning and closed. Raises FileGoneError, and OSError."""
        try:
            return self.path_of(file_id).open("rb")
        except FileNotFoundError as error:
            raise FileGoneError(f"there is no file '{file_id}'") from error

    def path_of(self, file_id: str) -> Path:
        """Where the bytes are. The id has to be one of ours."""
        assert _ID.fullmatch(file_id), file_id
        return self.folder / file_id

    def expired(self) -> list[StoredFile]:
        """Files whose time is over; up to a thousand."""
        query = f"SELECT {_COLUMNS} FROM files WHERE expires_at <= ? LIMIT 1000"
        return self._read(query, (self._tables.now(),))

    def sweep(self) -> None:
        """Delete bytes that have no row: a process was killed while they came, or went. Raises OSError."""
        old = self._tables.now() - _LEFT_OVER_SECONDS
        for path in list(self.folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                is_ours = path.name.startswith(_INCOMING) or _ID.fullmatch(path.name)
                if is_ours and path.stat().st_mtime < old and not self._has_row(path.name):
                    path.unlink()

    def _has_row(self, file_id: str) -> bool:
        return bool(self._tables.rows("SELECT 1 FROM files WHERE id = ?", (file_id,)))

    def _read(self, query: str, values: Sequence[object]) -> list[StoredFile]:
        return [_file_of(row) for row in self._tables.rows(query, values)]

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def new_file_id() -> str:
    """A random id."""
    return f"file-{secrets.token_hex(16)}"


def _totals(
    find: Callable[[str, Sequence[object]], Iterable[Sequence[Any]]], owner: str | None = None
) -> Totals:
    query, values = "SELECT count(*), coalesce(sum(bytes), 0) FROM files", list[object]()
    if owner is not None:
        query, values = f"{query} WHERE owner = ?", [owner]
    [(files, size_bytes)] = find(query, values)
    return Totals(files=files, size_bytes=size_bytes)


def _file_of(row: Sequence[Any]) -> StoredFile:
    file_id, owner, purpose, name, size_bytes, created_at, expires_at = row
    return StoredFile(
        id=file_id, owner=owner, purpose=Purpose(purpose), name=name, size_bytes=size_bytes,
        created_at=created_at, expires_at=expires_at,
    )  # fmt: skip
