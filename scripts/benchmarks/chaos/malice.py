"""Which of the servers are hostile, and in which way (pure)."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Mapping, Sequence

HOSTILE_PROGRAM = "scripts.benchmarks.chaos.hostile_server"
"""What runs in the place of a server, with `--malice KIND` behind a server's arguments."""


class Malice(enum.Enum):
    """All of them announce next to no time a layer and the most room, and answer every question at once."""

    STALLS = "stalls"  # takes steps, and computes nothing
    HALF = "half-a-second"  # takes half a second a step
    FIVE = "five-seconds"

    @property
    def step_seconds(self) -> float:
        """What each batch takes besides computing."""
        return {Malice.STALLS: math.inf, Malice.HALF: 0.5, Malice.FIVE: 5.0}[self]


def chosen(stages: int, replicas: int, share: float, chance: random.Random) -> Mapping[int, Malice]:
    """The hostile servers by number: `share` of all, at most all but one of each stage.

    They are spread over the stages, and over the kinds.
    """
    places = [
        stage * replicas + replica
        for replica in range(replicas - 1)
        for stage in chance.sample(range(stages), stages)
    ]
    count = min(len(places), round(share * stages * replicas))
    kinds: Sequence[Malice] = list(Malice)
    return {place: kinds[number % len(kinds)] for number, place in enumerate(places[:count])}
