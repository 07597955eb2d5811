"""A member's own position: its point, the round trips that move it, and the cell that it announces.

The point stays on this machine. What others learn is the cell, which is as coarse as a ping. Others' cells
and round trips to them come in; any of it may be a lie, but a round trip can't be shorter than the way.
"""

from __future__ import annotations

import math
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pinfer.backoff import Chance
from p2pinfer.swarm.coordinates.quantized import ORIGIN, Quantized, middle, settled
from p2pinfer.swarm.coordinates.vivaldi import (
    LEAST_HEIGHT_SECONDS,
    LEAST_POSITION_SECONDS,
    MOST_HEIGHT_SECONDS,
    MOST_POSITION_SECONDS,
    Coordinate,
    Spring,
    misfit,
    moved,
)
from p2pinfer.types import PeerId, Way

FEWEST_PEERS = 3
"""Who has measured fewer stays where it is: of two, nobody can tell which one lies."""
MOST_PEERS = 32
"""Whose round trips are kept: those measured last. A measurement looks at all of them, which takes 0.2 ms."""
MOST_ROUND_TRIPS = 5
"""Of one peer. The shortest of the last ones is the way; the others have met a queue."""
KEPT_SECONDS = 3600.0
"""A peer that wasn't measured for so long counts no more."""
MOST_ROUND_TRIP_SECONDS = 3.0
"""What takes longer was a pause of the machine, not a way through the network."""
LEAST_ROUND_TRIP_SECONDS = 1e-6
MOST_DOUBT_SECONDS = 0.1


_DOUBT_FACTOR = 0.95  # for each measurement: after 60 of them a twentieth is left
_MOST_STEPS = 4
"""For each measurement. Eight measured peers are enough for a newcomer to find its place."""
_STILL_SECONDS = 0.0005
_FEWEST_TO_LEAP = 12
_CLEARLY_BETTER = 0.6
"""Of 12 peers 8 would have to lie together; with 0.8, or among 8 peers, a third of liars in all is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What is kept of a position when a process ends."""

    point: Coordinate
    doubt_seconds: float  # how far the point may be from where it belongs
    announced: Quantized


_NOWHERE = Whereabouts(point=Coordinate(), doubt_seconds=MOST_DOUBT_SECONDS, announced=ORIGIN)


@dataclass(slots=True)
class _Peer:
    where: Coordinate
    measured_at: float
    round_trips: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_ROUND_TRIPS))


class Position:
    """Of one member in one swarm."""

    def __init__(
        self,
        whereabouts: Whereabouts | None = None,
        *,
        chance: Chance = random.random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`whereabouts` are those of a former process. `now` is in seconds of any one clock."""
        kept = whereabouts or _NOWHERE
        self._point = kept.point
        self._doubt_seconds = kept.doubt_seconds
        self._announced = settled(kept.announced, kept.point)
        self._chance, self._now = chance, now
        self._peers: OrderedDict[PeerId, _Peer] = OrderedDict()

    @property
    def announced(self) -> Quantized:
        """The cell to announce: the origin's, as long as too little was measured."""
        return self._announced

    @property
    def whereabouts(self) -> Whereabouts | None:
        """What the next process needs; None as long as too little was measured."""
        if self._doubt_seconds == MOST_DOUBT_SECONDS:
            return None
        return Whereabouts(point=self._point, doubt_seconds=self._doubt_seconds, announced=self._announced)

    def measured(
        self, peer_id: PeerId, where: Quantized, round_trip_seconds: float, way: Way | None = None
    ) -> None:
        """Take a round trip to a peer, and the cell that it announces. What can't be true is left out.

        So is the `way` through a relay, which may be anywhere.
        """
        if way is Way.RELAYED:
            return
        if not LEAST_ROUND_TRIP_SECONDS <= round_trip_seconds <= MOST_ROUND_TRIP_SECONDS:  # false for NaN
            return
        now = self._now()
        peer = self._peers.pop(peer_id, None) or _Peer(middle(where), now)
        peer.where, peer.measured_at = middle(where), now
        peer.round_trips.append(round_trip_seconds)
        self._peers[peer_id] = peer
        self._forget(now)
        if len(self._peers) < FEWEST_PEERS:
            return
        self._doubt_seconds *= _DOUBT_FACTOR
        springs = [Spring(peer.where, min(peer.round_trips)) for peer in self._peers.values()]
        if len(springs) >= _FEWEST_TO_LEAP:
            self._leap(springs)
        for _ in range(_MOST_STEPS):
            before, self._point = self._point, moved(self._point, springs, self._doubt_seconds, self._chance)
            if _is_still(before, self._point):
                break
        self._announced = settled(self._announced, self._point)

    def _leap(self, springs: Sequence[Spring]) -> None:
        """Go to where the nearest peer is, if that fits clearly better: steps may end in a wrong valley."""
        nearest = min(springs, key=lambda spring: spring.round_trip_seconds).where
        if misfit(nearest, springs) < _CLEARLY_BETTER * misfit(self._point, springs):
            self._point = nearest

    def _forget(self, now: float) -> None:
        """Drop who was measured longest ago: the first ones in the order."""
        while self._peers:
            oldest = next(iter(self._peers))
            if len(self._peers) <= MOST_PEERS and now - self._peers[oldest].measured_at <= KEPT_SECONDS:
                break
            del self._peers[oldest]


def _is_still(before: Coordinate, after: Coordinate) -> bool:
    return (
        math.hypot(after.x - before.x, after.y - before.y) + abs(after.height - before.height)
        < _STILL_SECONDS
    )


def as_json(whereabouts: Whereabouts) -> dict[str, Any]:
    """What a file keeps."""
    point, cell = whereabouts.point, whereabouts.announced
    return {
        "point": [point.x, point.y, point.height],
        "doubt": whereabouts.doubt_seconds,
        "announced": [cell.x, cell.y, cell.height],
    }


def from_json(read: object) -> Whereabouts:
    """Read what a file keeps. Raises only ValueError, whatever it is."""
    match read:
        case {"point": [x, y, height], "doubt": doubt, "announced": [int() as u, int() as v, int() as w]}:
            pass
        case _:
            raise ValueError("not a position")
    return Whereabouts(
        point=Coordinate(
            x=_seconds(x, LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS),
            y=_seconds(y, LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS),
            height=_seconds(height, LEAST_HEIGHT_SECONDS, MOST_HEIGHT_SECONDS),
        ),
        doubt_seconds=_seconds(doubt, 0.0, MOST_DOUBT_SECONDS),
        announced=Quantized(x=u, y=v, height=w),
    )


def _seconds(value: object, least: float, most: float) -> float:
    if not isinstance(value, int | float) or not least <= value <= most:  # false for NaN
        raise ValueError("a position out of bounds")
    return float(value)
