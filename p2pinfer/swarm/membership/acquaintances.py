"""Which peers a member remembers, and when to greet which. Pure: the caller has the clock and the network."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass

from p2pinfer.types import PeerId

MAX_MET = 16
MAX_ANCHORS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GreetingTimes:
    """How long a member waits, after it greeted a peer, before it greets that peer again.

    A peer is known while it is in the routing table: it answered when it was last asked.
    """

    alone_seconds: float = 5.0  # while no peer at all is known
    lost_seconds: float = 20.0  # an initial peer that isn't known any more
    unconnected_seconds: float = (
        60.0  # an initial peer that is known, but may have restarted and know no peer
    )
    met_seconds: float = 60.0  # a peer met before that isn't known any more: the swarm may be cut in two
    remembered_seconds: float = 3600.0  # a peer met before is forgotten this long after it was last seen


@dataclass(frozen=True, slots=True)
class _Met:
    addresses: tuple[str, ...]
    first_seen_at: float
    seen_at: float


class Acquaintances:
    """The initial peers and up to MAX_MET peers that were met, with the multiaddresses where they were."""

    def __init__(self, initial: Mapping[PeerId, Collection[str]], times: GreetingTimes | None = None) -> None:
        self._initial = {peer_id: tuple(addresses) for peer_id, addresses in initial.items()}
        self._times = times or GreetingTimes()
        self._met: dict[PeerId, _Met] = {}
        self._greeted_at: dict[PeerId, float] = {}

    def saw(self, connected: Mapping[PeerId, Collection[str]], now: float) -> None:
        """Remember members that are connected at these addresses.

        Of more than MAX_MET, half are those known longest of the ones seen lately: a crowd that comes can't
        push them out. The others are those seen last, and among these the ones known longest.
        """
        for peer_id, addresses in connected.items():
            held = self._met.get(peer_id)
            self._met[peer_id] = _Met(tuple(addresses), held.first_seen_at if held else now, now)
        lately = now - self._times.remembered_seconds
        oldest = sorted(
            (peer for peer, met in self._met.items() if met.seen_at >= lately),
            key=lambda peer: (
                self._met[peer].first_seen_at - self._met[peer].seen_at,
                -self._met[peer].seen_at,
            ),
        )
        newest = sorted(self._met, key=lambda peer: (-self._met[peer].seen_at, self._met[peer].first_seen_at))
        kept = list(dict.fromkeys([*oldest[: MAX_MET // 2], *newest]))[:MAX_MET]
        self._met = {peer: self._met[peer] for peer in kept}

    def recall(
        self,
        peers: Mapping[PeerId, Collection[str]],
        seen: Mapping[PeerId, tuple[float, float]],
        now: float,
        unix_now: float,
    ) -> None:
        """Remember peers from an earlier stay, `seen` first and last at these Unix seconds; others just now.

        `unix_now` is the time that is `now` on the clock of all other calls.
        """
        for peer_id, addresses in peers.items():
            first, last = (
                min(at, unix_now) - unix_now + now for at in seen.get(peer_id, (unix_now, unix_now))
            )
            self._met[peer_id] = _Met(tuple(addresses), min(first, last), last)
        self.saw({}, now)

    def seen(self, now: float, unix_now: float) -> dict[PeerId, tuple[float, float]]:
        """When each peer was met for the first and for the last time, in Unix seconds."""
        offset = unix_now - now
        return {peer: (met.first_seen_at + offset, met.seen_at + offset) for peer, met in self._met.items()}

    def addresses(self) -> dict[PeerId, tuple[str, ...]]:
        """All remembered peers, with every known address of each."""
        found = dict(self._initial)
        for peer_id, met in self._met.items():
            found[peer_id] = tuple(dict.fromkeys((*found.get(peer_id, ()), *met.addresses)))
        return found

    def anchors(self, known: Set[PeerId], *, shared: bool = True) -> list[PeerId]:
        """Those of the `known` that others are likeliest to know as well, at most MAX_ANCHORS.

        The initial peers first, then those met longest ago: whoever comes with many new identities is none
        of them. Half of the places are never an initial peer's, if enough others are known. Everybody has the
        same initial peers: not `shared`, they are left out where others are known.
        """
        initial = [peer for peer in self._initial if peer in known]
        met = sorted(
            self._met.keys() & known - self._initial.keys(), key=lambda peer: self._met[peer].first_seen_at
        )
        if met and not shared:
            return met[:MAX_ANCHORS]
        first = initial[: max(MAX_ANCHORS // 2, MAX_ANCHORS - len(met))]
        return [*first, *met][:MAX_ANCHORS]

    def due(self, now: float, known: Set[PeerId], connected: Set[PeerId]) -> dict[PeerId, tuple[str, ...]]:
        """The peers to greet now, with their addresses; from here on they count as greeted.

        `known` are the peers in the routing table: they answered when they were last asked. A peer that has
        left since, or has restarted and knows no peer, is noticed only by its broken connection.
        """
        due = {
            peer_id: addresses
            for peer_id, addresses in self.addresses().items()
            if (wait_seconds := self._wait_seconds(peer_id, now, known, connected)) is not None
            and now >= self._greeted_at.get(peer_id, float("-inf")) + wait_seconds
        }
        self.greeted(due, now)
        return due

    def greeted(self, peers: Collection[PeerId], now: float) -> None:
        """Note that these peers were greeted now."""
        for peer_id in peers:
            self._greeted_at[peer_id] = now
        remembered = self._initial.keys() | self._met.keys()
        self._greeted_at = {peer: at for peer, at in self._greeted_at.items() if peer in remembered}

    def _wait_seconds(
        self, peer_id: PeerId, now: float, known: Set[PeerId], connected: Set[PeerId]
    ) -> float | None:
        """Seconds from one greeting of the peer to the next; None: it needs none as things are."""
        times = self._times
        if not known:
            return times.alone_seconds
        if peer_id in self._initial:
            if peer_id not in known:
                return times.lost_seconds
            return None if peer_id in connected else times.unconnected_seconds
        if peer_id in known or now - self._met[peer_id].seen_at > times.remembered_seconds:
            return None
        return times.met_seconds
