"""Whom a member remembers, and when it should greet whom. Pure: the caller has the clock and the network."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass

from p2pinfer.types import PeerId

MAX_MET = 16
ALONE_SECONDS = 5.0  # between two greetings of the same peer while nobody is known
LOST_SECONDS = 20.0  # of an initial peer that we don't know any more
UNCONNECTED_SECONDS = 60.0  # of one that we do know: it may have begun anew, and know nobody
MET_SECONDS = 60.0  # of a peer met before that we don't know any more: the swarm may have been cut in two
REMEMBERED_SECONDS = 3600.0  # so long after we last saw it; longer while nobody is known
_SLOWEST_RESTART_SECONDS = 30.0


def restart_delay_seconds(failures: int) -> float:
    """How long to wait before p2pd is started again, after so many ends in a row (1: the first).

    >>> [restart_delay_seconds(failures) for failures in (1, 2, 3, 7, 1000)]
    [0.5, 1.0, 2.0, 30.0, 30.0]
    """
    return min(_SLOWEST_RESTART_SECONDS, 0.5 * 2.0 ** min(failures - 1, 10))


@dataclass(frozen=True, slots=True)
class _Met:
    addresses: tuple[str, ...]
    first_seen_at: float
    seen_at: float


class Acquaintances:
    """The initial peers, and a few others that were met, with the multiaddresses where they were."""

    def __init__(self, initial: Mapping[PeerId, Collection[str]]) -> None:
        self._initial = {peer_id: tuple(addresses) for peer_id, addresses in initial.items()}
        self._met: dict[PeerId, _Met] = {}
        self._greeted_at: dict[PeerId, float] = {}

    def saw(self, connected: Mapping[PeerId, Collection[str]], now: float) -> None:
        """Remember members that are connected at these addresses. Those known longest are kept.

        A peer that has been here for long is likelier to stay than a new one.
        """
        for peer_id, addresses in connected.items():
            held = self._met.get(peer_id)
            self._met[peer_id] = _Met(tuple(addresses), held.first_seen_at if held else now, now)
        kept = sorted(self._met.items(), key=lambda item: (-item[1].seen_at, item[1].first_seen_at))[:MAX_MET]
        self._met = dict(kept)

    def addresses(self) -> dict[PeerId, tuple[str, ...]]:
        """Everybody, with every address known of each."""
        found = dict(self._initial)
        for peer_id, met in self._met.items():
            found[peer_id] = tuple(dict.fromkeys((*found.get(peer_id, ()), *met.addresses)))
        return found

    def due(self, now: float, known: Set[PeerId], connected: Set[PeerId]) -> dict[PeerId, tuple[str, ...]]:
        """Whom to greet now, and where; counted as greeted from here on.

        `known` are those in the routing table: they answered when last asked. They may be gone since, or
        have begun anew, and then only a broken connection gives it away.
        """
        due = {
            peer_id: addresses
            for peer_id, addresses in self.addresses().items()
            if (patience := self._patience_seconds(peer_id, now, known, connected)) is not None
            and now >= self._greeted_at.get(peer_id, float("-inf")) + patience
        }
        self.greeted(due, now)
        return due

    def greeted(self, peers: Collection[PeerId], now: float) -> None:
        """These peers were greeted."""
        for peer_id in peers:
            self._greeted_at[peer_id] = now
        remembered = self._initial.keys() | self._met.keys()
        self._greeted_at = {peer: at for peer, at in self._greeted_at.items() if peer in remembered}

    def _patience_seconds(
        self, peer_id: PeerId, now: float, known: Set[PeerId], connected: Set[PeerId]
    ) -> float | None:
        """How long after one greeting the next is due; None: not while things are as they are."""
        if not known:
            return ALONE_SECONDS
        if peer_id in self._initial:
            if peer_id not in known:
                return LOST_SECONDS
            return None if peer_id in connected else UNCONNECTED_SECONDS
        if peer_id in known or now - self._met[peer_id].seen_at > REMEMBERED_SECONDS:
            return None
        return MET_SECONDS
