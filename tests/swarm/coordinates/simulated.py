"""Members of a swarm who measure each other, and announce their cells, round after round."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.coordinates.quantized import UNIT_SECONDS, Quantized
from p2pinfer.types import PeerId

MEASURED = 3  # by each member in each round


@dataclass
class Lie:
    """What a hostile third of the members does."""

    cell: Quantized
    delay_seconds: float = 0.0  # that it adds to its answers


@dataclass
class Simulated:
    """Members live in regions in turns. `ways[one][other]` are the seconds between two regions."""

    ways: Sequence[Sequence[float]]
    members: int
    seed: int = 1
    lie: Lie | None = None  # of every third member
    homes: Sequence[float] = ()  # the seconds that each member's line at home adds
    changes: int = 0
    """How often an honest member has announced another cell."""
    positions: list[Position] = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.time = 0.0
        self.positions = [self.newcomer() for _ in range(self.members)]
        self.homes = self.homes or [0.0] * self.members

    def newcomer(self) -> Position:
        return Position(chance=self.chance.random, now=lambda: self.time)

    def is_honest(self, member: int) -> bool:
        return self.lie is None or member // len(self.ways) % 3 != 2

    @property
    def honest(self) -> list[int]:
        return [member for member in range(self.members) if self.is_honest(member)]

    def announced(self, member: int) -> Quantized:
        honest = self.lie is None or self.is_honest(member)
        return self.positions[member].announced if honest or not self.lie else self.lie.cell

    def way_seconds(self, one: int, other: int) -> float:
        between = self.ways[one % len(self.ways)][other % len(self.ways)]
        return between + self.homes[one] + self.homes[other]

    def measure(self, one: int, other: int) -> None:
        """A round trip has jitter, and one of twenty meets a queue."""
        seconds = self.way_seconds(one, other) * (1 + 0.05 * self.chance.expovariate(1))
        seconds += 0.1 * self.chance.random() if self.chance.random() < 0.05 else 0.0
        if self.lie is not None and not self.is_honest(other):
            seconds += self.lie.delay_seconds
        before = self.positions[one].announced
        self.positions[one].measured(PeerId(f"peer {other}"), self.announced(other), seconds)
        self.changes += self.positions[one].announced != before

    def run(self, rounds: int) -> None:
        self.changes = 0
        for _ in range(rounds):
            self.time += 30.0
            for one in self.honest:
                for _ in range(MEASURED):
                    other = self.chance.randrange(self.members)
                    if other != one:
                        self.measure(one, other)

    def errors(self) -> list[float]:
        """How far the distances of the announced cells are from the ways, in seconds, sorted."""
        return sorted(
            abs(seconds_between(self.announced(one), self.announced(other)) - self.way_seconds(one, other))
            for one in self.honest
            for other in self.honest
            if other < one
        )

    def apart(self) -> int:
        """How many cells, on one axis, the two members of one region are apart that are most."""
        regions = len(self.ways)
        return max(
            max(abs(one.x - other.x), abs(one.y - other.y))
            for region in range(regions)
            for cells in [[self.announced(member) for member in self.honest if member % regions == region]]
            for one in cells
            for other in cells
        )

    def centre(self) -> tuple[float, float]:
        """The mean cell of the honest members."""
        cells = [self.announced(member) for member in self.honest]
        return sum(cell.x for cell in cells) / len(cells), sum(cell.y for cell in cells) / len(cells)


def seconds_between(one: Quantized, other: Quantized) -> float:
    """The expected round trip of two members that announced these."""
    across = math.hypot(one.x - other.x, one.y - other.y)
    return (across + one.height + other.height) * UNIT_SECONDS
