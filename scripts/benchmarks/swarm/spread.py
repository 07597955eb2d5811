"""From what was seen of a model's servers to when every layer had one (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from p2pinfer.swarm.census.stretches import replicas
from p2pinfer.types import PeerId, Span


@dataclass(frozen=True, slots=True)
class Seen:
    """One server's record, as far as it matters here."""

    peer_id: PeerId
    layers: Span
    is_settled: bool  # its layers are chosen; it may still load them
    is_serving: bool


@dataclass(frozen=True, slots=True)
class Sighting:
    """All records at one time (time.monotonic)."""

    at: float
    servers: tuple[Seen, ...]

    def settled(self, among: Collection[PeerId]) -> list[Span]:
        """The layers that servers have claimed for good, or serve."""
        return [seen.layers for seen in self.servers if seen.peer_id in among and seen.is_settled]

    def serving(self, among: Collection[PeerId]) -> list[Span]:
        """The layers that servers take sessions for."""
        return [seen.layers for seen in self.servers if seen.peer_id in among and seen.is_serving]


def fewest(spans: Iterable[Span], num_layers: int) -> int:
    """How many of the spans hold the layer that fewest hold."""
    return min(stretch.servers for stretch in replicas(spans, num_layers))


def most(spans: Iterable[Span], num_layers: int) -> int:
    """How many of the spans hold the layer that most hold."""
    return max(stretch.servers for stretch in replicas(spans, num_layers))


def all_seen_at(sightings: Iterable[Sighting], peers: Collection[PeerId]) -> float | None:
    """When each of the servers had announced something for the first time."""
    unseen = set(peers)
    for sighting in sightings:
        unseen -= {seen.peer_id for seen in sighting.servers}
        if not unseen:
            return sighting.at
    return None


def settled_at(
    sightings: Iterable[Sighting], peers: Collection[PeerId], num_layers: int, since: float
) -> float | None:
    """When every layer had a server that had settled on it, at `since` at the earliest."""
    return next(
        (one.at for one in sightings if one.at >= since and fewest(one.settled(peers), num_layers)), None
    )


def served_at(
    sightings: Sequence[Sighting], peers: Collection[PeerId], num_layers: int, since: float
) -> float | None:
    """From when on, to the last sighting, every layer was served by some of these; None: it wasn't at last.

    `since` if no gap was seen from then on.
    """
    found: float | None = since
    for sighting in sightings:
        if sighting.at < since:
            continue
        if not fewest(sighting.serving(peers), num_layers):
            found = None
        elif found is None:
            found = sighting.at
    return found
