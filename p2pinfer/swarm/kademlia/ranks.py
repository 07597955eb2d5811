"""Who gives way under a key that has more records than places: never simply who came last. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.cells import ranks
from p2pinfer.swarm.kademlia.validator import Record

SILENT_SECONDS = 45.0  # servers refresh their records about every 17 s: two refreshes were lost
ELDERS_SHARE = 0.5  # of all places: they belong to those who have been there longest
NETWORK_SHARE = 0.25
MOST_OF_PLACE = 4
"""In the list of models all servers of a model have one place: of a popular one a few lines do."""


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

    First those that are silent, then those of a place with more than MOST_OF_PLACE, then those of a network
    with more than `most_of_network`, then the worst rank. The `elders` that have been there longest stay; of
    a place or a network, as many of them as it may have.
    """
    silent = [place for place in places if place.is_silent(now)]
    if silent:
        return min(silent, key=lambda place: (place.refreshed_at, place.arrival))
    by_age = sorted(places, key=lambda place: place.age)
    most = MOST_OF_PLACE
    if not (crowd := _crowd(by_age, lambda held: held.record.place, most)):
        most = most_of_network
        crowd = _crowd(by_age, lambda held: held.source, most)
    stay = set(by_age[:elders]).intersection(crowd[:most] or by_age)
    others = [place for place in crowd or by_age if place not in stay]
    return max(others, key=lambda place: rank(place.record, now))


def _crowd(by_age: Sequence[Held], whose: Callable[[Held], Hashable], most: int) -> list[Held]:
    """What belongs to the one who has the most, if that is more than `most`; else nothing."""
    sizes = Counter(owner for held in by_age if (owner := whose(held)) is not None)
    for owner, size in sizes.most_common(1):
        if size > most:
            return [held for held in by_age if whose(held) == owner]
    return []
