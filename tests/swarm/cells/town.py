"""Servers that live by the rule of climbing, and readers that descend to them, without a network."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from statistics import median_low

from p2pinfer.swarm.cells.climb import CAPACITY, Climb, Sight, arrived, climbed
from p2pinfer.swarm.cells.descent import Descent
from p2pinfer.swarm.cells.place import DEPTH

ELDERS = CAPACITY // 2
"""Of a full key's records those that have been there longest; the others are the best ranks."""


class Town:
    """Servers by number, and a few keepers of each cell. Nobody is silent: who goes is gone."""

    def __init__(self, seed: int = 1, keepers: int = 1, lost: float = 0.0) -> None:
        """`lost` is the share of records that a keeper doesn't get, so that keepers disagree."""
        self.places: dict[int, str] = {}
        self.ranks: dict[int, float] = {}
        self.climbs: dict[int, Climb] = {}
        # What each keeper of a cell has, those first who are there longest.
        self.cells: dict[str, list[list[int]]] = defaultdict(lambda: [[] for _ in range(keepers)])
        self.offers: dict[str, int] = defaultdict(int)  # of the last round
        self.captured: set[str] = set()  # all of their keepers are hostile: they refuse all, and show none
        self.lost = lost
        self.chance = random.Random(seed)

    def add(self, place: str, rank: float | None = None) -> int:
        """A server comes, finds its home, and announces itself there."""
        number = self.add_at(place, self.descend(place).depth, rank)
        self.look(number)
        return number

    def add_at(self, place: str, home: int, rank: float | None = None) -> int:
        """A server comes that believes that its home is there. It looks with all others."""
        number = len(self.ranks)
        self.places[number] = place
        self.ranks[number] = self.chance.random() if rank is None else rank
        self.climbs[number] = arrived(home)
        return number

    def remove(self, number: int) -> None:
        """A server goes, and its records with it."""
        for depth in range(DEPTH + 1):
            self._withdraw(number, depth)
        del self.places[number], self.climbs[number]

    def kept(self, cell: str) -> list[int]:
        """The servers whose records the keepers of a cell show."""
        if cell in self.captured:
            return []
        return list(dict.fromkeys(number for keeper in self.cells[cell] for number in keeper))

    def inside(self, cell: str) -> set[int]:
        """The servers that are in a cell, wherever they are announced."""
        return {number for number, place in self.places.items() if place.startswith(cell)}

    def descend(self, place: str, remembered: int | None = None) -> Descent:
        """A reader's way down. Its length is in `reads`."""
        descent = Descent(remembered)
        self.reads = 0
        while (depth := descent.next_depth) is not None:
            descent.saw(depth, len(self.kept(place[:depth])))
            self.reads += 1
        return descent

    def found(self, place: str) -> set[int]:
        """What a reader at a place finds."""
        result = self.descend(place).result
        return {number for depth in result for number in self.kept(place[:depth])}

    def look(self, number: int) -> bool:
        """One server tries to announce itself. True if it will do so elsewhere from now on."""
        climb, place = self.climbs[number], self.places[number]
        sights = {}
        for depth in climb.tries:
            if (sight := self._offer(number, place[:depth])) is not None:
                sights[depth] = sight
        after = self.climbs[number] = climbed(climb, sights)
        for depth in climb.tries:
            if depth not in after.depths:
                self._withdraw(number, depth)  # in truth it isn't refreshed any more, and expires
        return after != climb

    def look_all(self) -> int:
        """All look once, in any order. Returns how many changed anything."""
        self.offers.clear()
        order = list(self.climbs)
        self.chance.shuffle(order)
        return sum([self.look(number) for number in order])

    def settle(self, most_rounds: int = 60) -> int:
        """All look until nobody changes anything. Returns the rounds this took."""
        for rounds in range(most_rounds):
            if not self.look_all():
                return rounds
        raise AssertionError("they go to and fro")

    def _offer(self, number: int, cell: str) -> Sight | None:
        """What most keepers of a cell say; p2pinfer/swarm/kademlia/ranks.py says who goes."""
        self.offers[cell] += 1
        if cell in self.captured:
            return Sight(records=1000, is_kept=False)
        others, kept = [], []
        for keeper in self.cells[cell]:
            if self.lost and self.chance.random() < self.lost:
                continue
            if number not in keeper:
                keeper.append(number)
                if len(keeper) > CAPACITY:
                    keeper.remove(max(keeper[ELDERS:], key=self.ranks.__getitem__))
            kept.append(number in keeper)
            others.append(len(keeper) - kept[-1])
        if not kept:
            return None
        return Sight(records=median_low(others), is_kept=2 * sum(kept) >= len(kept))

    def _withdraw(self, number: int, depth: int) -> None:
        for keeper in self.cells[self.places[number][:depth]]:
            if number in keeper:
                keeper.remove(number)


def places(count: int, prefixes: Sequence[str], seed: int = 1) -> list[str]:
    """Places that begin with one of the prefixes, at random below."""
    chance = random.Random(seed)
    return [
        (prefix := chance.choice(prefixes))
        + "".join(chance.choice("0123") for _ in range(DEPTH - len(prefix)))
        for _ in range(count)
    ]
