"""Servers that live by the rule of climbing, and readers that descend to them, without a network."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from p2pinfer.swarm.cells.climb import CAPACITY, Climb, Sight, arrived, climbed
from p2pinfer.swarm.cells.descent import Descent
from p2pinfer.swarm.cells.place import DEPTH

ELDERS = CAPACITY // 2
"""Of a full key's records those that have been there longest; the others are the best ranks."""


class Town:
    """Servers by number. All keepers of a cell answer alike, and nobody is silent: who goes is gone."""

    def __init__(self, seed: int = 1) -> None:
        self.places: dict[int, str] = {}
        self.ranks: dict[int, float] = {}
        self.climbs: dict[int, Climb] = {}
        self.cells: dict[str, list[int]] = defaultdict(list)  # who is kept, those first who are there longest
        self.offers: dict[str, int] = defaultdict(int)  # of the last round
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
        """The servers whose records a cell's key keeps."""
        return list(self.cells[cell])

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
        sights = {depth: self._offer(number, place[:depth]) for depth in climb.tries}
        after = self.climbs[number] = climbed(climb, sights)
        for depth in climb.tries:
            if depth not in after.depths:
                self._withdraw(number, depth)  # in truth it isn't refreshed any more, and expires
        return after != climb

    def settle(self, most_rounds: int = 60) -> int:
        """All look, in any order, until nobody changes anything. Returns the rounds this took."""
        for rounds in range(most_rounds):
            self.offers.clear()
            order = list(self.climbs)
            self.chance.shuffle(order)
            if not sum([self.look(number) for number in order]):
                return rounds
        raise AssertionError("they go to and fro")

    def _offer(self, number: int, cell: str) -> Sight:
        """What the keepers of a cell do with a record: p2pinfer/swarm/kademlia/ranks.py says who goes."""
        self.offers[cell] += 1
        kept = self.cells[cell]
        if number not in kept:
            kept.append(number)
            if len(kept) > CAPACITY:
                kept.remove(max(kept[ELDERS:], key=self.ranks.__getitem__))
        is_kept = number in kept
        return Sight(records=len(kept) - is_kept, is_kept=is_kept)

    def _withdraw(self, number: int, depth: int) -> None:
        kept = self.cells[self.places[number][:depth]]
        if number in kept:
            kept.remove(number)


def places(count: int, prefixes: Sequence[str], seed: int = 1) -> list[str]:
    """Places that begin with one of the prefixes, at random below."""
    chance = random.Random(seed)
    return [
        (prefix := chance.choice(prefixes))
        + "".join(chance.choice("0123") for _ in range(DEPTH - len(prefix)))
        for _ in range(count)
    ]
