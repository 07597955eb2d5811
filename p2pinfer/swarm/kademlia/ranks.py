"""Who gives way when there are more records than places: never simply who came last. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from p2pinfer.fairness.sources import Source
from p2pinfer.types import PeerId

EPOCH_SECONDS = 3600
SILENT_SECONDS = 45.0  # servers refresh their records about every 17 s: two refreshes were lost
NETWORK_SHARE = 0.25  # of a key's places
_MOST_CACHED = 16_384  # a flood at a full key would else cost two hashes for each record there


class Place(Protocol):
    """What is known of a record that holds a place, or wants one."""

    key: bytes
    peer_id: PeerId
    source: Source | None
    since: float
    arrival: int
    refreshed_at: float


def rank(peer_id: PeerId, key: bytes, now: float) -> bytes:
    """A peer's rank under a key, the same at all nodes; lower is better. `now` is in Unix seconds.

    It changes each hour, at another moment for each peer, so that not all places change hands at once.
    """
    name, stagger = _name(peer_id)
    return _rank(name, key, int(now + stagger) // EPOCH_SECONDS)


@lru_cache(maxsize=_MOST_CACHED)
def _name(peer_id: PeerId) -> tuple[bytes, int]:
    name = hashlib.sha256(b"p2pinfer rank\0" + peer_id.encode()).digest()
    return name, int.from_bytes(name[:4], "big") % EPOCH_SECONDS


@lru_cache(maxsize=_MOST_CACHED)
def _rank(name: bytes, key: bytes, epoch: int) -> bytes:
    return hashlib.sha256(name + epoch.to_bytes(8, "big", signed=True) + key).digest()


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
