"""The file of keys: read again when it changes, so that a key works, or stops working, without a restart."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.gateway.access.keys import Key, keys_as_text, parse_keys
from p2pinfer.outside.trusted_files import who_else_writes
from p2pinfer.private_files import write_private

logger = logging.getLogger(__name__)

_MOST_BYTES = 16 << 20


def read_keys(path: Path) -> dict[str, Key]:
    """The keys of a file by id. Raises UsageError, which names it, unless it can be read and trusted."""
    try:
        found = path.stat()
        if found.st_size > _MOST_BYTES:
            raise UsageError("it is too large")
        if reason := who_else_writes(path):
            raise UsageError(f"others could make keys: {reason}")
        return parse_keys(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from error
    except UsageError as error:
        raise UsageError(f"{path} can't be used: {error}") from error


def write_keys(path: Path, keys: Mapping[str, Key]) -> None:
    """Replace the file as a whole. Raises UsageError."""
    try:
        write_private(path, keys_as_text(keys.values()).encode(), replace=True)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror or error}") from error


class KeyFile:
    """The newest keys of a file. A file that was damaged, or has gone, lets nobody in."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises UsageError."""
        self._path = path
        self._seen = self._mark()
        self._keys: Mapping[str, Key] = read_keys(path)

    def keys(self) -> Mapping[str, Key]:
        """The keys by id. Takes microseconds unless the file has changed."""
        mark = self._mark()
        if mark != self._seen:
            self._seen = mark
            try:
                self._keys = read_keys(self._path)
            except UsageError as error:
                self._keys = {}
                logger.error("no key works until this is mended: %s", error)
        return self._keys

    def _mark(self) -> tuple[int, int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode
