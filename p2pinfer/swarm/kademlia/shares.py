"""Who gives way in a whole store, where the records of all keys share the places.

Half of the places belong to the records that have been there longest: these are the elders, and stay. Of the
others, the *young*, first a network with more than its share gives way, then the identity that has the most,
then the worst rank. So whoever has made a hundred identities has the share of a hundred, and no more, under
however many keys.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import islice
from operator import attrgetter
from typing import Generic, TypeVar

from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.kademlia.ranks import NETWORK_SHARE, Held, rank
from p2pinfer.types import PeerId

COMPARED = 16
"""So many, others each time, are compared by rank: to compare all would cost a flooded node its time."""

_ALL_TREES = ""

_age = attrgetter("age")
_Whose = TypeVar("_Whose", bound=Hashable)


class Shares:
    """The records of a store by age, and the young ones by whose they are."""

    def __init__(self, places: int) -> None:
        self._elders = places // 2
        self._most_of_network = int((places - self._elders) * NETWORK_SHARE)
        # To insert into 16,384 pointers moves 0.1 MB at most: some microseconds.
        self._by_age: list[Held] = []
        self._by_peer: _Crowds[PeerId] = _Crowds()
        self._by_network: _Crowds[Source] = _Crowds()

    def add(self, held: Held) -> None:
        """It has a place from now on."""
        insort(self._by_age, held, key=_age)
        if len(self._by_age) > self._elders:
            last_elder_of_before = self._by_age[self._elders]
            self._becomes_young(max(held, last_elder_of_before, key=_age))

    def remove(self, held: Held) -> None:
        """It has no place any more."""
        index = bisect_left(self._by_age, held.age, key=_age)
        if len(self._by_age) > self._elders:
            first_young = self._by_age[self._elders]
            self._stops_being_young(held if index > self._elders else first_young)
        del self._by_age[index]

    def first_to_go(self, newcomer: Held, company: Callable[[bytes], int], now: float) -> Held:
        """Who gives way to a newcomer, perhaps itself, when all places are taken and nobody is silent.

        `company` tells how many records there are under a key.
        """
        # Who comes back with its age may be an elder: then a younger one makes room among the elders.
        is_elder = bisect_left(self._by_age, newcomer.age, key=_age) < self._elders
        rival = None if is_elder else newcomer
        candidates = self._in_crowded_network(rival) or self._of_heaviest(rival, company)
        return max(candidates, key=lambda held: rank(held.record, now, tree=_ALL_TREES))

    def _in_crowded_network(self, rival: Held | None) -> list[Held]:
        """Some young ones of a network that has more than its share, if there is one."""
        source = None if rival is None else rival.source
        if rival and source and self._by_network.size(source) >= self._most_of_network:
            return [*self._by_network.some_of(source, COMPARED), rival]
        if self._by_network.largest <= self._most_of_network:
            return []
        (crowded,) = self._by_network.some_largest(1)
        return self._by_network.some_of(crowded, COMPARED)

    def _of_heaviest(self, rival: Held | None, company: Callable[[bytes], int]) -> list[Held]:
        """Of some of the identities that have the most young ones, the record that is missed least."""
        own = 0 if rival is None else self._by_peer.size(rival.record.peer_id) + 1
        if rival is not None and own > self._by_peer.largest:
            return [rival]
        least_missed = [
            max(self._by_peer.of(peer), key=lambda held: (company(held.key), held.age))
            for peer in self._by_peer.some_largest(COMPARED)
        ]
        return [*least_missed, rival] if rival is not None and own == self._by_peer.largest else least_missed

    def _becomes_young(self, held: Held) -> None:
        self._by_peer.add(held.record.peer_id, held)
        if held.source is not None:
            self._by_network.add(held.source, held)

    def _stops_being_young(self, held: Held) -> None:
        self._by_peer.remove(held.record.peer_id, held)
        if held.source is not None:
            self._by_network.remove(held.source, held)


class _Crowds(Generic[_Whose]):
    """Records by whose they are, and who has the most. Everything but `largest` is O(1) for each record."""

    def __init__(self) -> None:
        self._of: dict[_Whose, OrderedDict[Held, None]] = {}
        self._with_size: dict[int, OrderedDict[_Whose, None]] = {}

    def add(self, whose: _Whose, held: Held) -> None:
        crowd = self._of.setdefault(whose, OrderedDict())
        crowd[held] = None
        self._resized(whose, len(crowd) - 1, len(crowd))

    def remove(self, whose: _Whose, held: Held) -> None:
        crowd = self._of[whose]
        del crowd[held]
        self._resized(whose, len(crowd) + 1, len(crowd))
        if not crowd:
            del self._of[whose]

    def size(self, whose: _Whose) -> int:
        return len(self._of.get(whose, ()))

    @property
    def largest(self) -> int:
        """How many records those have that have the most. Sizes are few: n of them take n * n / 2 records."""
        return max(self._with_size, default=0)

    def of(self, whose: _Whose) -> list[Held]:
        return list(self._of[whose])

    def some_of(self, whose: _Whose, count: int) -> list[Held]:
        """So many at most, others the next time."""
        return _some(self._of[whose], count)

    def some_largest(self, count: int) -> list[_Whose]:
        """So many at most of those who have the most, others the next time."""
        return _some(self._with_size[self.largest], count)

    def _resized(self, whose: _Whose, before: int, after: int) -> None:
        if before:
            del self._with_size[before][whose]
            if not self._with_size[before]:
                del self._with_size[before]
        if after:
            self._with_size.setdefault(after, OrderedDict())[whose] = None


def _some(ring: OrderedDict[_Whose, None], count: int) -> list[_Whose]:
    """The first `count`, which are the last then."""
    some = list(islice(ring, count))
    for one in some:
        ring.move_to_end(one)
    return some
