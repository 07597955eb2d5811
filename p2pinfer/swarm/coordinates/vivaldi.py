"""A member's coordinate: a point in a plane and a height, which measured round trips pull and push.

The distance of two points in the plane stands for the way through the network, a height for the line at
home, which every round trip crosses. A measured round trip is a spring between two members: too long a one
pulls them together, too short a one pushes them apart. Source: F. Dabek et al., "Vivaldi: A Decentralized
Network Coordinate System", SIGCOMM 2004; gravity, which keeps the whole plane from drifting: J. Ledlie et
al., "Network Coordinates in the Wild", NSDI 2007.

What differs here, and why:

- A member sees the others in whole cells of 10 ms. So a spring within BLUR_SECONDS of its length has no
  force.
- What others say of themselves may be a lie, and one sample at a time can't tell which. So a step weighs the
  newest round trips of all peers that were measured, each peer once. How far the best third of them misses
  tells how far an honest one may; the force of those that miss by more falls again (Cauchy's weight). As long
  as less than a third of the measured peers lie, lies have little force, however far away they claim to be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.backoff import Chance

LEAST_POSITION_SECONDS = -0.425
MOST_POSITION_SECONDS = LEAST_POSITION_SECONDS + 1.28
"""Of each axis. The origin lies near a third of the range, in the middle of a cell; `quantized` says why."""
LEAST_HEIGHT_SECONDS = 0.0001
MOST_HEIGHT_SECONDS = 1.27
MOST_STEP_SECONDS = 0.01
"""Of one step in the plane, and of one in height."""
BLUR_SECONDS = 0.005
"""A distance to the middle of a cell isn't known better than this."""

_GAIN = 0.5
_HONEST_MISS_SECONDS = 0.01
_HONEST_MISS_FACTOR = 6.0
"""An honest round trip may miss by the first, and so many times what the best third of all do. On a sphere,
which no plane fits, honest ones miss by tens of milliseconds."""
_CLEAR_MISS_SECONDS = 0.03
_GRAVITY_SECONDS = 0.001
_STRONG_GRAVITY_SECONDS = 0.01  # more at _GRAVITY_RADIUS_SECONDS; it grows with the square of the distance
_GRAVITY_RADIUS_SECONDS = 0.128
_HEIGHT_GRAVITY_SECONDS = 0.0002
_FLAT_SHARE = 0.8
"""The share of a force that is taken in the plane by those who are at the same point, in any direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinate:
    """A point. Positions, in seconds, lie in the range above."""

    x: float = 0.0
    y: float = 0.0
    height: float = LEAST_HEIGHT_SECONDS


@dataclass(frozen=True, slots=True)
class Spring:
    """A peer, where it says it is, and the round trip that was measured."""

    where: Coordinate
    round_trip_seconds: float


def distance_seconds(one: Coordinate, other: Coordinate) -> float:
    """The round trip between two members, as their coordinates have it."""
    return math.hypot(one.x - other.x, one.y - other.y) + one.height + other.height


def moved(own: Coordinate, springs: Sequence[Spring], doubt_seconds: float, chance: Chance) -> Coordinate:
    """Our coordinate, one step nearer to where the springs and gravity are in balance.

    `doubt_seconds` is how far we may be from there, which a newcomer can't know: a spring that misses by no
    more than that has its full force. `chance` gives directions to those who are at the same point.
    """
    if not springs:
        return own
    misses = [spring.round_trip_seconds - distance_seconds(own, spring.where) for spring in springs]
    beyond = [max(0.0, abs(miss) - BLUR_SECONDS) for miss in misses]
    best_third = sorted(beyond)[len(beyond) // 3]
    honest = _HONEST_MISS_SECONDS + _HONEST_MISS_FACTOR * best_third + doubt_seconds
    right = up = higher = 0.0
    for spring, miss, seconds in zip(springs, misses, beyond, strict=True):
        if seconds == 0.0:
            continue
        force = math.copysign(seconds / (1 + (seconds / honest) ** 2), miss) / len(springs)
        across, (x, y) = _direction(own, spring.where, chance)
        flat = across / (across + own.height + spring.where.height) if across else _FLAT_SHARE
        right, up, higher = right + force * flat * x, up + force * flat * y, higher + force * (1 - flat)
    pull_x, pull_y = _gravity(own)
    right, up = _GAIN * (right - pull_x), _GAIN * (up - pull_y)
    shortened = min(1.0, MOST_STEP_SECONDS / max(math.hypot(right, up), MOST_STEP_SECONDS))
    rise = _within(_GAIN * (higher - _HEIGHT_GRAVITY_SECONDS), -MOST_STEP_SECONDS, MOST_STEP_SECONDS)
    return Coordinate(
        x=_within(own.x + shortened * right, LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS),
        y=_within(own.y + shortened * up, LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS),
        height=_within(own.height + rise, LEAST_HEIGHT_SECONDS, MOST_HEIGHT_SECONDS),
    )


def misfit(own: Coordinate, springs: Sequence[Spring]) -> float:
    """How badly a point fits the springs. One that misses by far counts little more than one that misses."""
    misses = (
        max(0.0, abs(spring.round_trip_seconds - distance_seconds(own, spring.where)) - BLUR_SECONDS)
        for spring in springs
    )
    return sum(math.log1p((miss / _CLEAR_MISS_SECONDS) ** 2) for miss in misses)


def _direction(own: Coordinate, other: Coordinate, chance: Chance) -> tuple[float, tuple[float, float]]:
    """How far away from `other` we are in the plane, and in which direction; any direction where it's near.

    Without chance all members would leave the origin, where everybody begins, on one line.
    """
    across = math.hypot(own.x - other.x, own.y - other.y)
    if across > BLUR_SECONDS:
        return across, ((own.x - other.x) / across, (own.y - other.y) / across)
    angle = 2 * math.pi * chance()
    return 0.0, (math.cos(angle), math.sin(angle))


def _gravity(own: Coordinate) -> tuple[float, float]:
    """The pull towards the origin: just to it, where it would go beyond."""
    radius = math.hypot(own.x, own.y)
    if radius == 0.0:
        return 0.0, 0.0
    pull = _GRAVITY_SECONDS + _STRONG_GRAVITY_SECONDS * (radius / _GRAVITY_RADIUS_SECONDS) ** 2
    pull = min(pull, radius / _GAIN)
    return pull * own.x / radius, pull * own.y / radius


def _within(value: float, least: float, most: float) -> float:
    return min(most, max(least, value))
