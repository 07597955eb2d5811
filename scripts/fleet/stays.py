"""When a car is at home, plugged in and willing. Pure: chance comes from the caller.

Times are seconds since the midnight before the first day. Cars leave in the morning, come back in the
evening, and make short trips in between. Some owners name hours: such a car joins when they begin, together
with all others of the same hour, and says when it leaves. The others come when they are plugged in, and
leave without a word, or with the minute that a drain takes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

HOUR = 3600.0
DAY = 24 * HOUR
DRAIN_SECONDS = 60.0

_TRIPS_A_DAY = 0.5
_SHORTEST_STAY_SECONDS = 300.0
_HOME_BY_DAY = 0.2
"""Of the cars: they don't go to work, but make a second trip."""
_WITH_HOURS = 0.4
_START_SECONDS = 30.0
"""By which clocks, and the times that machines need to start, differ."""
_ABRUPT = 0.5
"""Of the departures that nobody announced long before."""


class Kind(Enum):
    """What a machine is."""

    CAR = auto()
    HOME = auto()  # stays, and restarts about once in a week


@dataclass(frozen=True, slots=True)
class Stay:
    """A time in which a machine works."""

    begins_at: float
    ends_at: float
    leaves_at: float | None  # what it announces when it comes
    is_abrupt: bool  # it ends without a word, and its record stays for a while


def stays_of(kind: Kind, zone: int, ends_at: float, chance: random.Random) -> list[Stay]:
    """Return one machine's stays until `ends_at`, in order. Its clock is `zone` hours late."""
    if kind is Kind.HOME:
        restart = chance.uniform(0.0, 7 * DAY)
        times = [(-DAY, restart), (restart + 120.0, ends_at + DAY)]
        return [_stay(begin, end, None, chance) for begin, end in times if begin < ends_at]
    by_day = chance.random() < _HOME_BY_DAY
    hours = (
        (chance.choice((19, 20, 21, 22)), chance.choice((6, 7, 8))) if chance.random() < _WITH_HOURS else None
    )
    late = zone * HOUR
    found = []
    for begin, end in _at_home(by_day, math.ceil(ends_at / DAY) + 1, chance):
        found += list(_within(hours, begin, end, chance))
    return [
        _stay(begin + late, end + late, None if leaves_at is None else leaves_at + late, chance)
        for begin, end, leaves_at in found
        if end - begin >= _SHORTEST_STAY_SECONDS
    ]


def _stay(begins_at: float, ends_at: float, leaves_at: float | None, chance: random.Random) -> Stay:
    as_announced = leaves_at is not None and ends_at >= leaves_at
    return Stay(begins_at, ends_at, leaves_at, not as_announced and chance.random() < _ABRUPT)


def _at_home(by_day: bool, days: int, chance: random.Random) -> Iterator[tuple[float, float]]:
    """The times between two trips, from the day before the first on."""
    came = -2 * DAY
    for day in range(-1, days):
        trips = []
        if not by_day:
            leaves = min(9.0, max(6.0, chance.gauss(7.5, 0.7)))
            trips.append((leaves, chance.triangular(17.0, 23.0, 18.5)))
        while chance.random() < _TRIPS_A_DAY:
            leaves = chance.uniform(9.5, 22.0)
            trips.append((leaves, leaves + chance.uniform(0.3, 1.5)))
        for leaves, comes in sorted(trips):
            if day * DAY + leaves * HOUR > came:
                yield came, day * DAY + leaves * HOUR
            came = max(came, day * DAY + comes * HOUR)
    yield came, days * DAY


def _within(
    hours: tuple[int, int] | None, begin: float, end: float, chance: random.Random
) -> Iterator[tuple[float, float, float | None]]:
    """What is left of a time at home within the hours that the owner named; when the car says it leaves."""
    if hours is None:
        yield begin, end, None
        return
    for day in range(math.floor(begin / DAY) - 1, math.ceil(end / DAY) + 1):
        opens, closes = day * DAY + hours[0] * HOUR, (day + 1) * DAY + hours[1] * HOUR
        if begin < closes and opens < end:
            yield max(begin, opens + chance.uniform(0.0, _START_SECONDS)), min(end, closes), closes
