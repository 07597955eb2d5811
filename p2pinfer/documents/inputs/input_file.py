"""Opening the file of a batch: what can be seen at once to be none is refused by name."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from p2pinfer.errors import UsageError

STANDARD_INPUT = "-"

_STARTS = {
    b"\x1f\x8b": "is compressed: unpack it with gunzip",
    b"PK\x03\x04": "is a ZIP archive: unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed: unpack it with zstd -d",
    b"\xff\xfe": "is UTF-16: write it as UTF-8, as `iconv -f UTF-16 -t UTF-8` does",
    b"\xfe\xff": "is UTF-16: write it as UTF-8, as `iconv -f UTF-16 -t UTF-8` does",
}
_BYTES_AT_ONCE = 1 << 20


class InputFile:
    """A file that can be read line by line, again and again."""

    def __init__(self, file: IO[bytes], shown: str, digest: str) -> None:
        """Use `opened_input` instead."""
        self._file = file
        self._shown = shown
        self.digest = digest
        """The SHA-256 of the whole file, in hexadecimal."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or `size` bytes of it; empty at the end. Raises UsageError if it can't be read."""
        with _as_usage_error(self._shown):
            return self._file.readline(size)

    def rewind(self) -> None:
        """Begin again. Raises UsageError if it can't be read."""
        with _as_usage_error(self._shown):
            self._file.seek(0)


@contextmanager
def opened_input(name: str) -> Iterator[InputFile]:
    """Open the file that `name` names, `-` for standard input. What can't be read twice is copied first.

    Raises UsageError, which says what to do, for a folder, and for what can't be read or is no text.
    """
    shown = shown_input(name)
    with _as_usage_error(shown):
        raw = _opened(name)
    with raw, tempfile.TemporaryFile() as copy:
        file: IO[bytes] = io.BufferedReader(raw, _BYTES_AT_ONCE)
        with _as_usage_error(shown):
            status = os.fstat(raw.fileno())
            _refuse_devices(status, shown)
            is_regular = stat.S_ISREG(status.st_mode)
            digest = hashlib.sha256()
            is_first = True
            while data := file.read(_BYTES_AT_ONCE):
                if is_first:
                    _refuse_others(data, shown)
                    is_first = False
                digest.update(data)
                if not is_regular:
                    copy.write(data)
            file = file if is_regular else copy
            file.seek(0)
        yield InputFile(file, shown, digest.hexdigest())


def shown_input(name: str) -> str:
    """What messages call it."""
    return "standard input" if name == STANDARD_INPUT else name


def _refuse_others(start: bytes, shown: str) -> None:
    for mark, problem in _STARTS.items():
        if start.startswith(mark):
            raise UsageError(f"{shown} {problem}")


def _refuse_devices(status: os.stat_result, shown: str) -> None:
    """A copy of one such as /dev/zero fills the disk. The null device is an empty file."""
    is_device = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
    if is_device and status.st_rdev != os.stat(os.devnull).st_rdev:
        raise UsageError(f"{shown} is a device: name a file")


def _opened(name: str) -> io.FileIO:
    if name == STANDARD_INPUT:
        if sys.stdin is not None and sys.stdin.isatty():
            raise UsageError("standard input is a terminal: name a file, or lead one here with <")
        return io.FileIO(0, closefd=False)
    if stat.S_ISDIR(Path(name).stat().st_mode):
        raise UsageError(f"{name} is a folder: say with --prompt what to do with its text files")
    return io.FileIO(name)


@contextmanager
def _as_usage_error(shown: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        if isinstance(error, UsageError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{shown} can't be read: {reason}") from error
