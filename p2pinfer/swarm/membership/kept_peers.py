"""The file in which a user's programs keep whom they knew in a swarm, and where in it this machine is.

Only the user can read it. A file that is spoiled counts as empty and is written anew; where none can be
written, the memory ends with the process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Set
from pathlib import Path

from p2pinfer.outside.kept_json import KeptJson
from p2pinfer.swarm.coordinates.position import Whereabouts
from p2pinfer.swarm.membership.known_peers import (
    KnownPeer,
    Swarms,
    as_json,
    from_json,
    peers_of,
    remember,
    whereabouts_of,
)
from p2pinfer.types import PeerId

_logger = logging.getLogger(__name__)

FILE_NAME = "peers-remembered.json"
_MOST_BYTES = 256 * 1024


class KeptPeers:
    """One file, which several processes may use at the same time. Its methods block."""

    def __init__(
        self, path: Path, *, is_read_only: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        """`now` gives Unix seconds. With `is_read_only` nothing is written."""
        self.path = path
        self._is_read_only = is_read_only
        self._now = now
        self._file = KeptJson(path, most_bytes=_MOST_BYTES)

    def read(self, initial: Set[PeerId]) -> dict[PeerId, KnownPeer]:
        """Who is known in the swarm with these initial peers; nobody if the file can't be read."""
        return peers_of(self._read(), initial, self._now())

    def whereabouts(self, initial: Set[PeerId]) -> Whereabouts | None:
        """Where this machine was in the swarm with these initial peers; None if the file doesn't say it."""
        return whereabouts_of(self._read(), initial, self._now())

    def add(
        self,
        initial: Set[PeerId],
        peers: Mapping[PeerId, KnownPeer],
        whereabouts: Whereabouts | None = None,
    ) -> None:
        """Add to what the file has. A failure costs the next process its memory, and nothing else."""
        if self._is_read_only or not peers or not initial:
            return
        try:
            with self._file.locked():
                self._file.write(as_json(remember(self._read(), initial, peers, self._now(), whereabouts)))
        except OSError as error:
            _logger.debug("whom we know can't be written to %s: %s", self.path, error)

    def _read(self) -> Swarms:
        try:
            return from_json(self._file.read())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _logger.debug("whom we knew can't be read from %s: %s", self.path, error)
            return {}
