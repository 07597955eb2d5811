"""A small JSON file that the processes of one user share: private, bounded, and written under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from p2pinfer.outside.plain_json import read_json
from p2pinfer.private_files import make_private_folder, write_private

_LOCK_TRIES = 50
_LOCK_SECONDS = 0.01


class KeptJson:
    """One file, which several processes may use at the same time."""

    def __init__(self, path: Path, *, most_bytes: int) -> None:
        """A file with more than `most_bytes` isn't read."""
        self.path = path
        self._most_bytes = most_bytes

    def read(self) -> Any:
        """What the file says. Raises OSError, and ValueError for what isn't such a file."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("not a file")
            data = file.read(self._most_bytes + 1)
        return read_json(data, most_bytes=self._most_bytes)

    def write(self, value: object) -> None:
        """Replace the file, whole or not at all. Raises OSError."""
        data = json.dumps(value, separators=(",", ":")).encode()
        write_private(self.path, data, replace=True, durable=False)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing between our reading and writing; if one hangs, go on anyway.

        Raises OSError where there can be no file.
        """
        make_private_folder(self.path.parent)
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(_LOCK_TRIES):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(_LOCK_SECONDS)
            yield
        finally:
            os.close(lock)
