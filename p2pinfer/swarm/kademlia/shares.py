"""Who gives way in a whole store, where the records of all keys share the places.

First a network with more than its share, but for its eldest. Then those that are *young*: half of the places
belong to the records that have been there longest, these are the elders, and stay. Of the young ones the
identity that has the most gives way, then the worst rank. So whoever has made a hundred identities has the
share of a hundred, and no more, under however many keys.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from operator import attrgetter

from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.kademlia.ranks import ELDERS_SHARE, NETWORK_SHARE, Held, rank
from p2pinfer.types import PeerId

COMPARED = 16
"""So many, others each time, are compared by rank: to compare all would cost a flooded node its time."""

_ALL_TREES = ""

_age = attrgetter("age")


class Shares:
    """The records of a store by age, by network, and the young ones by whose they are."""

    def __init__(self, places: int) -> None:
        self._elders = int(places * ELDERS_SHARE)
        # To insert into 16,384 pointers moves 0.1 MB at most: some microseconds.
        self._by_age: list[Held] = []
        self._networks = _Networks(int(places * NETWORK_SHARE))
        self._young = _Identities()

    def add(self, held: Held) -> None:
        """It has a place from now on."""
        self._networks.add(held)
        insort(self._by_age, held, key=_age)
        if len(self._by_age) > self._elders:
            last_elder_of_before = self._by_age[self._elders]
            self._young.add(max(held, last_elder_of_before, key=_age))

    def remove(self, held: Held) -> None:
        """It has no place any more."""
        self._networks.remove(held)
        index = bisect_left(self._by_age, held.age, key=_age)
        if len(self._by_age) > self._elders:
            first_young = self._by_age[self._elders]
            self._young.remove(held if index > self._elders else first_young)
        del self._by_age[index]

    def first_to_go(self, newcomer: Held, company: Callable[[bytes], int], now: float) -> Held:
        """Who gives way to a newcomer, perhaps itself, when all places are taken and nobody is silent.

        `company` tells how many records there are under a key.
        """
        candidates = self._networks.crowd(newcomer) or self._of_heaviest(newcomer, company)
        return max(candidates, key=lambda held: rank(held.record, now, tree=_ALL_TREES))

    def _of_heaviest(self, newcomer: Held, company: Callable[[bytes], int]) -> list[Held]:
        """Of some of the identities that have the most young ones, the record that is missed least."""
        most, own = self._young.largest, self._young.size(newcomer.record.peer_id) + 1
        if bisect_left(self._by_age, newcomer.age, key=_age) < self._elders:
            own = 0  # it comes back with its age: a younger one makes room among the elders
        if own > most:
            return [newcomer]
        least_missed = [
            max(self._young.of(peer), key=lambda held: (company(held.key), held.age))
            for peer in self._young.some_largest()
        ]
        return [*least_missed, newcomer] if own == most else least_missed


class _Networks:
    """The records of each known network by age, and which networks have more than their share."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._by_age: dict[Source, list[Held]] = {}
        self._crowds: set[Source] = set()  # a few: each has more than `share` places
        self._turn = 0

    def add(self, held: Held) -> None:
        if held.source is not None:
            own = self._by_age.setdefault(held.source, [])
            insort(own, held, key=_age)
            if len(own) > self._share:
                self._crowds.add(held.source)

    def remove(self, held: Held) -> None:
        if held.source is not None:
            own = self._by_age[held.source]
            del own[bisect_left(own, held.age, key=_age)]
            if len(own) <= self._share:
                self._crowds.discard(held.source)
            if not own:
                del self._by_age[held.source]

    def crowd(self, newcomer: Held) -> list[Held]:
        """Some of those by which a network exceeds its share, others each time; none if no network does.

        Of the newcomer's network if that does with it.
        """
        source = newcomer.source
        own = [] if source is None else self._by_age.get(source, [])
        if len(own) >= self._share:
            is_among_eldest = bisect_left(own, newcomer.age, key=_age) < self._share
            if is_among_eldest:
                return self._some(own, self._share - 1)
            return [*self._some(own, self._share), newcomer]
        return self._some(self._by_age[min(self._crowds)], self._share) if self._crowds else []

    def _some(self, own: Sequence[Held], first: int) -> list[Held]:
        """A few of those from place `first` on."""
        count = len(own) - first
        self._turn += COMPARED
        return [own[first + (self._turn + i) % count] for i in range(min(count, COMPARED))]


class _Identities:
    """The young records of each identity, and who has the most. Each change is O(1)."""

    def __init__(self) -> None:
        self._of: dict[PeerId, dict[Held, None]] = {}
        self._with_size: dict[int, OrderedDict[PeerId, None]] = {}

    def add(self, held: Held) -> None:
        own = self._of.setdefault(held.record.peer_id, {})
        own[held] = None
        self._resized(held.record.peer_id, len(own) - 1, len(own))

    def remove(self, held: Held) -> None:
        own = self._of[held.record.peer_id]
        del own[held]
        self._resized(held.record.peer_id, len(own) + 1, len(own))
        if not own:
            del self._of[held.record.peer_id]

    def size(self, peer_id: PeerId) -> int:
        return len(self._of.get(peer_id, ()))

    @property
    def largest(self) -> int:
        """How many those have that have the most. There are few sizes: an identity has few keys."""
        return max(self._with_size, default=0)

    def of(self, peer_id: PeerId) -> list[Held]:
        return list(self._of[peer_id])

    def some_largest(self) -> list[PeerId]:
        """A few of those who have the most, others each time."""
        ring = self._with_size.get(self.largest, OrderedDict())
        some = list(islice(ring, COMPARED))
        for peer_id in some:
            ring.move_to_end(peer_id)
        return some

    def _resized(self, peer_id: PeerId, before: int, after: int) -> None:
        if before:
            del self._with_size[before][peer_id]
            if not self._with_size[before]:
                del self._with_size[before]
        if after:
            self._with_size.setdefault(after, OrderedDict())[peer_id] = None
