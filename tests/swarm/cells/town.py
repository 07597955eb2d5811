"""Servers that live by the rule of climbing, and readers that descend to them, without a network."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

from p2pinfer.swarm.cells.climb import CAPACITY, Climb, Sight, arrived, climbed
from p2pinfer.swarm.cells.descent import Descent
from p2pinfer.swarm.cells.place import DEPTH


class Town:
    """Servers by number. Each key keeps the best ranks of those that announce themselves."""

    def __init__(self, seed: int = 1) -> None:
        self.places: dict[int, str] = {}
        self.ranks: dict[int, float] = {}
        self.climbs: dict[int, Climb] = {}
        self.announced: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self.chance = random.Random(seed)

    def add(self, place: str, rank: float | None = None) -> int:
        """A server comes, finds its home, and announces itself there."""
        number = len(self.ranks)
        self.places[number] = place
        self.ranks[number] = self.chance.random() if rank is None else rank
        self._announce(number, arrived(self.descend(place).depth))
        return number

    def remove(self, number: int) -> None:
        """A server goes, and its records with it."""
        self._unannounce(number)
        del self.places[number], self.climbs[number]

    def kept(self, cell: str) -> list[int]:
        """The servers whose records a cell's key keeps."""
        return [number for _, number in self.announced[cell][:CAPACITY]]

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
        """One server looks, and announces itself where it should. True if anything changed."""
        climb, place = self.climbs[number], self.places[number]
        sights = {}
        for depth in climb.looks:
            kept = self.announced[place[:depth]][:CAPACITY]
            me = (self.ranks[number], number)
            others = len(kept) - (me in kept)
            sights[depth] = Sight(records=others, better=bisect_left(kept, me))
        after = climbed(climb, sights)
        if after == climb:
            return False
        self._unannounce(number)
        self._announce(number, after)
        return True

    def settle(self, most_rounds: int = 60) -> int:
        """All look, in any order, until nobody changes anything. Returns the rounds this took."""
        for rounds in range(most_rounds):
            order = list(self.climbs)
            self.chance.shuffle(order)
            if not sum([self.look(number) for number in order]):
                return rounds
        raise AssertionError("they go to and fro")

    def _announce(self, number: int, climb: Climb) -> None:
        self.climbs[number] = climb
        for depth in climb.depths:
            insort(self.announced[self.places[number][:depth]], (self.ranks[number], number))

    def _unannounce(self, number: int) -> None:
        for depth in self.climbs[number].depths:
            self.announced[self.places[number][:depth]].remove((self.ranks[number], number))


def places(count: int, prefixes: Sequence[str], seed: int = 1) -> list[str]:
    """Places that begin with one of the prefixes, at random below."""
    chance = random.Random(seed)
    return [
        (prefix := chance.choice(prefixes))
        + "".join(chance.choice("0123") for _ in range(DEPTH - len(prefix)))
        for _ in range(count)
    ]
