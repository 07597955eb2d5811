"""The file in which clients of a user keep what they remember of servers, for their next processes.

It says which servers this user's texts went through, and how those servers did; nothing of the texts. Only
the user can read it. A file that is spoiled counts as empty and is written anew; where none can be written,
the memory ends with the process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from p2pinfer.client.trust.reputation import Reputation
from p2pinfer.client.trust.reputations import Reputations, as_json, from_json
from p2pinfer.outside.kept_json import KeptJson
from p2pinfer.types import PeerId

logger = logging.getLogger(__name__)

FILE_NAME = "servers-remembered.json"
_MOST_BYTES = 512 * 1024


class KeptReputations:
    """One file, which several processes may use at the same time."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        """`now` gives Unix seconds."""
        self.path = path
        self.now = now
        self._file = KeptJson(path, most_bytes=_MOST_BYTES)

    def read(self) -> dict[PeerId, Reputation]:
        """What the file has; nothing if there is none, or if it can't be read."""
        try:
            return from_json(self._file.read())
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
            with self._file.locked():
                before = self.read()
                together.merge(before, self.now())
                if together.known != before:
                    self._file.write(as_json(together.known))
        except OSError as error:
            logger.debug("what is remembered of servers can't be written to %s: %s", self.path, error)
        return together.known
