"""Who gives way when there are more records than places: never simply who came last. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.cells import ranks
from p2pinfer.types import PeerId

SILENT_SECONDS = 45.0  # servers refresh their records about every 17 s: two refreshes were lost
NETWORK_SHARE = 0.25  # of a key's places
_NO_PROOF = b""  # identities don't have one yet


class Place(Protocol):
    """What is known of a record that holds a place, or wants one."""

    key: bytes
    peer_id: PeerId
    source: Source | None
    since: float
    arrival: int
    refreshed_at: float


def rank(peer_id: PeerId, key: bytes, now: float) -> float:
    """A peer's rank under a key, the same at all nodes; lower is better. `now` is in Unix seconds.

    It changes each hour, at another moment for each peer, so that not all places change hands at once.
    """
    return ranks.rank(peer_id, _NO_PROOF, key.hex(), ranks.epoch_at(peer_id, now))


def first_to_go(places: Sequence[Place], *, elders: int, most_of_network: int, now: float) -> Place:
    """The one of `places`, which aren't empty, that gives way.

    First those that are silent, then those of a network with more than `most_of_network`, then the worst
    rank but for the `elders` that have been there longest.
    """
    silent = [place for place in places if place.refreshed_at < now - SILENT_SECONDS]
    if silent:
        return min(silent, key=lambda place: (place.refreshed_at, place.arrival))
    of_network = Counter(place.source for place in places if place.source is not None)
    if of_network:
        source, count = of_network.most_common(1)[0]
        if count > most_of_network:
            places = [place for place in places if place.source == source]
            elders = min(elders, (most_of_network + 1) // 2)
    by_age = sorted(places, key=lambda place: (place.since, place.arrival))
    younger = by_age[min(elders, len(by_age) - 1) :]
    return max(younger, key=lambda place: rank(place.peer_id, place.key, now))
