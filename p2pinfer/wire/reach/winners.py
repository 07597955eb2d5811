"""Which way reached a peer last: it is tried first the next time."""

from __future__ import annotations

import threading
from collections import OrderedDict

from p2pinfer.types import PeerId
from p2pinfer.wire.reach.endpoints import Endpoint

MOST_PEERS = 1024
BELIEVED_SECONDS = 300.0
"""Then all ways have the same chance again: a better one may have come."""
TUNNEL_BELIEVED_SECONDS = 60.0
"""The same for the tunnel, beside which a better one may come at any moment: one that may be dialled now."""

TUNNEL = "tunnel"

Candidate = Endpoint | str
"""A way to try: an endpoint, or TUNNEL."""


class Winners:
    """The last winner of each peer, of the peers that were reached last. Any thread may use it."""

    def __init__(self, most: int = MOST_PEERS) -> None:
        self._most = most
        self._found: OrderedDict[PeerId, tuple[Candidate, float]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, peer_id: PeerId, now: float) -> Candidate | None:
        """What reached the peer last, if that isn't long ago. `now` is in seconds of any steady clock."""
        with self._lock:
            candidate, since = self._found.get(peer_id, (None, now))
            return candidate if now - since < _believed_seconds(candidate) else None

    def won(self, peer_id: PeerId, candidate: Candidate, now: float) -> None:
        """Remember what has reached the peer. The same winner again isn't believed for longer."""
        with self._lock:
            last, since = self._found.pop(peer_id, (None, now))
            is_old = last != candidate or now - since >= _believed_seconds(candidate)
            self._found[peer_id] = (candidate, now if is_old else since)
            while len(self._found) > self._most:
                self._found.popitem(last=False)

    def failed(self, peer_id: PeerId, candidate: Candidate) -> None:
        """Forget the winner if it is this one."""
        with self._lock:
            if self._found.get(peer_id, (None, 0.0))[0] == candidate:
                del self._found[peer_id]


def _believed_seconds(candidate: Candidate | None) -> float:
    return TUNNEL_BELIEVED_SECONDS if candidate == TUNNEL else BELIEVED_SECONDS
