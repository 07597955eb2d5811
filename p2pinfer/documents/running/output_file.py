"""A file with the answers or the errors of a job, in which each outcome is exactly once.

The store remembers how many bytes of the file are valid, and up to which outcome. It is told after the bytes
are on the disk; so what a kill leaves behind them is cut off, and written again as the same bytes. A file
that somebody has changed, or removed, is written anew: the store has all outcomes.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.jobs.written import Written, note_written, written
from p2pinfer.documents.running.output_lines import output_line
from p2pinfer.errors import JobError, JobStoreError
from p2pinfer.plain_text import printable

logger = logging.getLogger(__name__)

_PAGE = 256
_MOST_BYTES_AT_ONCE = 4 << 20
_MOST_KEPT = 1_000


class Content(StrEnum):
    """What a file contains."""

    ANSWERS = "answers"
    ERRORS = "errors"


class OutputFile:
    """One file of one job. `update` brings it up to date with the store. For one thread at a time.

    Raises JobStoreError if the file can't be written, and JobError if there is another file at its path, or
    another process writes it. The job can go on later: nothing is lost.
    """

    def __init__(self, store: JobStore, job_id: str, content: Content, path: Path) -> None:
        """Touches nothing yet."""
        self._store = store
        self._job_id = job_id
        self._content = content
        self._path = path.absolute()
        self._descriptor = -1
        self._written = Written(path=str(self._path))

    def update(self) -> None:
        """Write what came since. A file for errors is made when there is one."""
        with self._errors():
            if self._descriptor < 0 or not self._is_as_left():
                self.close()
                self._open()
            if self._descriptor >= 0:
                for data, place in self._chunks():
                    self._append(data, place)

    def is_whole(self) -> bool:
        """False if the file is missing, has lost its end, or was never written to its end.

        Reads nothing of it.
        """
        remembered = written(self._store.tables, self._job_id, self._content)
        is_error = self._content is Content.ERRORS
        place = remembered.place if remembered else 0
        if self._store.outcomes(self._job_id, after=place, limit=1, errors=is_error):
            return False  # such as after a kill, while it was written again
        try:
            size = self._path.stat().st_size
        except OSError:
            return remembered is None and is_error
        return remembered is not None and size >= remembered.bytes

    def close(self) -> None:
        """Close the file; `update` opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_as_left(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._descriptor)
        return os.path.samestat(there, mine) and mine.st_size == self._written.bytes

    def _open(self) -> None:
        """Open the file, and find or make its valid beginning. One for errors needs a first error."""
        remembered = written(self._store.tables, self._job_id, self._content)
        self._written = Written(path=str(self._path))
        make = self._content is Content.ANSWERS or bool(
            self._store.outcomes(self._job_id, limit=1, errors=True)
        )
        try:
            self._descriptor = _opened(self._path, make=make)
        except FileNotFoundError:
            if make:
                raise  # its folder isn't there
            return
        self._lock()
        size = os.fstat(self._descriptor).st_size
        is_here = remembered is not None and remembered.path == str(self._path)
        # Under another name it may have been moved; but any file begins with nothing.
        if remembered and (is_here or remembered.bytes) and _begins_with(self._descriptor, remembered):
            self._written = replace(remembered, path=str(self._path))
        elif size > 0:
            if not is_here:
                raise JobError(
                    f"{self._shown} is there already, and this job didn't write it: move it away, or give "
                    "another name"
                )
            self._move_aside()
            self._descriptor = _opened(self._path, make=True)
            self._lock()
        os.ftruncate(self._descriptor, self._written.bytes)
        if self._written != remembered:
            note_written(self._store.tables, self._job_id, self._content, self._written)

    def _lock(self) -> None:
        with contextlib.suppress(OSError):  # some network disks have no locks, and this one is only a help
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise JobError(f"{self._shown} is being written by another job") from error
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise JobError(
                f"{self._shown} isn't a file, and a job writes only files: it has to read them too"
            )

    def _move_aside(self) -> None:
        """Keep a file that somebody has changed: it may have what they wrote."""
        self.close()
        for number in range(1, _MOST_KEPT):
            kept = self._path.with_name(f"{self._path.name}.changed-{number}")
            if not kept.exists():
                break
        self._path.rename(kept)
        logger.warning(
            "%s was changed while the job paused: kept as %s, written anew", self._shown, printable(kept.name)
        )

    def _chunks(self) -> Iterator[tuple[bytes, int]]:
        """Lines that are not in the file yet, and the place of the last one's outcome."""
        lines: list[bytes] = []
        place, is_error = self._written.place, self._content is Content.ERRORS
        while page := self._store.outcomes(self._job_id, after=place, limit=_PAGE, errors=is_error):
            lines.extend(output_line(self._job_id, finished) for finished in page)
            place = page[-1].place
            if sum(map(len, lines)) >= _MOST_BYTES_AT_ONCE:
                yield b"".join(lines), place
                lines = []
        if lines:
            yield b"".join(lines), place

    def _append(self, data: bytes, place: int) -> None:
        end = self._written.bytes
        view = memoryview(data)
        while view:
            count = os.pwrite(self._descriptor, view, end)
            end, view = end + count, view[count:]
        os.fsync(self._descriptor)
        now = replace(self._written, bytes=end, crc32=zlib.crc32(data, self._written.crc32), place=place)
        note_written(self._store.tables, self._job_id, self._content, now)
        self._written = now

    @property
    def _shown(self) -> str:
        return printable(str(self._path))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            raise JobStoreError(
                f"{self._shown} can't be written ({error.strerror}): mend that, and run the same command "
                "again; nothing is lost"
            ) from error
        except (JobError, JobStoreError):
            self.close()
            raise


class JobFiles:
    """The two files of a job."""

    def __init__(self, store: JobStore, job_id: str, *, answers: Path, errors: Path) -> None:
        """Touches nothing yet. Raises JobError if both are the same file."""
        if answers.absolute() == errors.absolute():
            raise JobError("answers and errors need a file each")
        self._files = (
            OutputFile(store, job_id, Content.ANSWERS, answers),
            OutputFile(store, job_id, Content.ERRORS, errors),
        )

    def update(self) -> None:
        """Bring both up to date. Raises as `OutputFile`."""
        for file in self._files:
            file.update()

    def are_whole(self) -> bool:
        """False if one is missing, has lost its end, or was never written to its end."""
        return all(file.is_whole() for file in self._files)

    def close(self) -> None:
        """Close both."""
        for file in self._files:
            file.close()


def _opened(path: Path, *, make: bool) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o666)


def _begins_with(descriptor: int, remembered: Written) -> bool:
    """True if the file's beginning is what was written."""
    left, crc32 = remembered.bytes, 0
    while left:
        data = os.pread(descriptor, min(left, _MOST_BYTES_AT_ONCE), remembered.bytes - left)
        if not data:
            return False
        left, crc32 = left - len(data), zlib.crc32(data, crc32)
    return crc32 == remembered.crc32
