"""A member's coordinate: a point in a plane and a height, moved a little by every measured round trip.

The distance of two points in the plane stands for the way through the network, a height for the line at
home, which every round trip crosses. Source: F. Dabek et al., "Vivaldi: A Decentralized Network Coordinate
System", SIGCOMM 2004; gravity, which keeps the whole plane from drifting: J. Ledlie et al., "Network
Coordinates in the Wild", NSDI 2007.

What others say of themselves may be a lie. So a sample moves a point by a bounded step, however far away the
other says it is; nobody counts as more certain than CERTAIN; what can't be true is ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2pinfer.backoff import Chance

LEAST_POSITION_SECONDS = -1.28 / 3
MOST_POSITION_SECONDS = LEAST_POSITION_SECONDS + 1.28
"""Of each axis. The origin lies at a third of the range; `quantized` says why."""
LEAST_HEIGHT_SECONDS = 0.0001
MOST_HEIGHT_SECONDS = 1.27
MOST_ROUND_TRIP_SECONDS = 3.0
"""What takes longer was a pause of the machine, not a way through the network."""
LEAST_ROUND_TRIP_SECONDS = 1e-5
MOST_STEP_SECONDS = 0.01
"""Of one sample. A liar pulls no harder than this, whatever it says; the median of many samples wins."""
CERTAIN = 0.05
"""The least error that is believed of anybody, oneself included."""

_ERROR_GAIN = 0.25
_STEP_GAIN = 0.25
_GRAVITY_SECONDS = 0.001  # of a point at _GRAVITY_RADIUS_SECONDS; it grows with the square of the distance
_GRAVITY_RADIUS_SECONDS = 0.256
_LEAST_MISFIT_SECONDS = 0.001  # a LAN's jitter is not an error of the coordinate


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinate:
    """A point. Positions, in seconds, lie in the range above; the error is relative, in [CERTAIN, 1]."""

    x: float = 0.0
    y: float = 0.0
    height: float = LEAST_HEIGHT_SECONDS
    error: float = 1.0


def distance_seconds(one: Coordinate, other: Coordinate) -> float:
    """The round trip between two members, as their coordinates have it."""
    return math.hypot(one.x - other.x, one.y - other.y) + one.height + other.height


def moved(own: Coordinate, other: Coordinate, round_trip_seconds: float, chance: Chance) -> Coordinate:
    """Our coordinate after a round trip to `other` was measured; ours unchanged where a value can't be true.

    `chance` gives a direction where both points are the same.
    """
    if not _is_possible(other) or not _is_in(
        round_trip_seconds, LEAST_ROUND_TRIP_SECONDS, MOST_ROUND_TRIP_SECONDS
    ):
        return own
    other_error = min(1.0, max(CERTAIN, other.error))
    trust = own.error / (own.error + other_error)
    missing = round_trip_seconds - distance_seconds(own, other)
    misfit = min(1.0, max(0.0, abs(missing) - _LEAST_MISFIT_SECONDS) / round_trip_seconds)
    step = min(MOST_STEP_SECONDS, max(-MOST_STEP_SECONDS, _STEP_GAIN * trust * missing))
    across = math.hypot(own.x - other.x, own.y - other.y)
    if across > 0.0:
        right, up = (own.x - other.x) / across, (own.y - other.y) / across
    else:
        angle = 2 * math.pi * chance()
        right, up = math.cos(angle), math.sin(angle)
    heights = own.height + other.height
    flat = across / (across + heights)  # the share of the step that is taken in the plane
    if across < LEAST_HEIGHT_SECONDS:
        flat = 0.5  # two that begin at the same point have to part somehow
    x, y = _pulled(own.x + step * flat * right, own.y + step * flat * up)
    return Coordinate(
        x=_within(x, LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS),
        y=_within(y, LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS),
        height=_within(own.height + step * (1 - flat), LEAST_HEIGHT_SECONDS, MOST_HEIGHT_SECONDS),
        error=_within(own.error + _ERROR_GAIN * trust * (misfit - own.error), CERTAIN, 1.0),
    )


def _pulled(x: float, y: float) -> tuple[float, float]:
    """A position after gravity has moved it towards the origin."""
    radius = math.hypot(x, y)
    if radius == 0.0:
        return x, y
    pull = min(radius, _GRAVITY_SECONDS * (radius / _GRAVITY_RADIUS_SECONDS) ** 2)
    return x * (1 - pull / radius), y * (1 - pull / radius)


def _is_possible(other: Coordinate) -> bool:
    return (
        _is_in(other.x, LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS)
        and _is_in(other.y, LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS)
        and _is_in(other.height, 0.0, MOST_HEIGHT_SECONDS)
        and _is_in(other.error, 0.0, math.inf)
    )


def _is_in(value: float, least: float, most: float) -> bool:
    """False for NaN as well."""
    return least <= value <= most


def _within(value: float, least: float, most: float) -> float:
    return min(most, max(least, value))
