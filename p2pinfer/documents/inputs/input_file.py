"""Opening the file of a batch: what can be seen at once to be none is refused by name."""

from __future__ import annotations

import hashlib
import io
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from p2pinfer.errors import UsageError

STANDARD_INPUT = "-"

_STARTS = {
    b"\x1f\x8b": "is compressed: unpack it with gunzip",
    b"PK\x03\x04": "is a ZIP archive: unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed: unpack it with zstd -d",
    b"\xff\xfe": "is UTF-16: write it as UTF-8, as `iconv -f UTF-16 -t UTF-8` does",
    b"\xfe\xff": "is UTF-16: write it as UTF-8, as `iconv -f UTF-16 -t UTF-8` does",
}
_HASHED_BYTES = 1 << 20


class HashedFile:
    """A file that is read line by line, and the hash of what was read."""

    def __init__(self, file: BinaryIO, shown: str) -> None:
        self._file = file
        self._shown = shown
        self._hash = hashlib.sha256()

    def readline(self, size: int, /) -> bytes:
        """The next line, or `size` bytes of it; empty at the end. Raises UsageError if it can't be read."""
        with _as_usage_error(self._shown):
            data = self._file.readline(size)
        self._hash.update(data)
        return data

    def rest_hashed(self) -> str:
        """Read to the end. Returns the SHA-256 of the whole file, in hexadecimal. Raises UsageError."""
        with _as_usage_error(self._shown):
            while data := self._file.read(_HASHED_BYTES):
                self._hash.update(data)
        return self._hash.hexdigest()


@contextmanager
def opened_input(name: str) -> Iterator[HashedFile]:
    """Open the file that `name` names, `-` for standard input.

    Raises UsageError, which says what to do, for a folder, and for what can't be read or is no text.
    """
    shown = shown_input(name)
    with _as_usage_error(shown):
        raw = _opened(name)
    with raw, io.BufferedReader(raw, _HASHED_BYTES) as file:
        with _as_usage_error(shown):
            start = file.peek(4)[:4]
        for mark, problem in _STARTS.items():
            if start.startswith(mark):
                raise UsageError(f"{shown} {problem}")
        yield HashedFile(file, shown)


def shown_input(name: str) -> str:
    """What messages call it."""
    return "standard input" if name == STANDARD_INPUT else name


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
