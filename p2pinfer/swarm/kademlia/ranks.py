"""Who gives way under a key that has more records than places: never simply who came last. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.cells import ranks
from p2pinfer.swarm.kademlia.validator import Record

SILENT_SECONDS = 45.0  # servers refresh their records about every 17 s: two refreshes were lost
NETWORK_SHARE = 0.25  # of the places for which there are others


@dataclass(slots=True, kw_only=True, eq=False)
class Held:
    """A record that holds a place, or wants one, and how it came there."""

    key: bytes
    record: Record
    source: Source | None  # None: not known, then no network's share bounds it
    since: float
    arrival: int
    refreshed_at: float

    @property
    def age(self) -> tuple[float, int]:
        """Orders records, the oldest first. No two of a store have the same."""
        return self.since, self.arrival

    def is_silent(self, now: float) -> bool:
        """True if its owner doesn't answer for it any more."""
        return self.refreshed_at < now - SILENT_SECONDS or self.record.expires_at <= now


def rank(record: Record, now: float, tree: str | None = None) -> float:
    """The rank of a record's signer in its tree, the same at all nodes and all keys; lower is better.

    `now` is in Unix seconds. Say a `tree` where records of several are compared: of trees there are as many
    as one likes, and a signer would choose one where its rank is good.
    """
    epoch = ranks.epoch_at(record.peer_id, now)
    return ranks.rank(record.peer_id, record.proof, record.tree if tree is None else tree, epoch)


def first_to_go(places: Sequence[Held], *, elders: int, most_of_network: int, now: float) -> Held:
    """The one of `places`, more than `elders`, that gives way.

    First those that are silent, then those of a network with more than `most_of_network`, then the worst
    rank. The `elders` that have been there longest stay; of a network, `most_of_network` of them.
    """
    silent = [place for place in places if place.is_silent(now)]
    if silent:
        return min(silent, key=lambda place: (place.refreshed_at, place.arrival))
    by_age = sorted(places, key=lambda place: place.age)
    crowd = _crowd(by_age, most_of_network)
    stay = set(by_age[:elders]).intersection(crowd[:most_of_network] or by_age)
    others = [place for place in crowd or by_age if place not in stay]
    return max(others, key=lambda place: rank(place.record, now))


def _crowd(by_age: Sequence[Held], most_of_network: int) -> list[Held]:
    """The places of the largest network, if it has more than its share; else none."""
    sizes = Counter(place.source for place in by_age if place.source is not None)
    for source, size in sizes.most_common(1):
        if size > most_of_network:
            return [place for place in by_age if place.source == source]
    return []
