"""The file in which clients of a user keep what they remember of servers, for their next processes.

It says which servers this user's texts went through, and how those servers did; nothing of the texts. Only
the user can read it. A file that is spoiled counts as empty and is written anew; where none can be written,
the memory ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from p2pinfer.client.trust.reputation import Reputation
from p2pinfer.client.trust.reputations import Reputations, as_json, from_json
from p2pinfer.outside.plain_json import read_json
from p2pinfer.private_files import make_private_folder, write_private
from p2pinfer.types import PeerId

logger = logging.getLogger(__name__)

FILE_NAME = "servers-remembered.json"
_MOST_BYTES = 512 * 1024
_LOCK_TRIES = 50
_LOCK_SECONDS = 0.01


class KeptReputations:
    """One file, which several processes may use at the same time."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        """`now` gives Unix seconds."""
        self.path = path
        self.now = now

    def read(self) -> dict[PeerId, Reputation]:
        """What the file has; nothing if there is none, or if it can't be read."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ValueError("not a file")
                data = file.read(_MOST_BYTES + 1)
            return from_json(read_json(data, most_bytes=_MOST_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.debug("what is remembered of servers can't be read from %s: %s", self.path, error)
            return {}

    def exchange(self, known: Mapping[PeerId, Reputation]) -> Mapping[PeerId, Reputation]:
        """Add `known` to what the file has, and return all of it.

        A failure costs the next process its memory, and nothing else.
        """
        together = Reputations(known)
        try:
            make_private_folder(self.path.parent)
            with self._locked():
                before = self.read()
                together.merge(before, self.now())
                if together.known != before:
                    data = json.dumps(as_json(together.known), separators=(",", ":")).encode()
                    write_private(self.path, data, replace=True, durable=False)
        except OSError as error:
            logger.debug("what is remembered of servers can't be written to %s: %s", self.path, error)
        return together.known

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from writing between our reading and writing; if one hangs, go on anyway."""
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
