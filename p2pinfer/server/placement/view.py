"""What a server that chooses its layers sees of its model: who stays, and who may still choose. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from p2pinfer.server.placement.choice import Numbers
from p2pinfer.server.placement.moving import Holders, Intention
from p2pinfer.server.placement.settling import Claim, may_move
from p2pinfer.swarm.census.strength import (
    Strength,
    destination,
    expected,
    expected_stay,
    is_moving,
    layer_rate,
    typical_seconds,
)
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import PeerId

_LEAST_STAY = 0.05
"""A server that leaves soon still prefers some layers to others."""
_LIKELY = 0.5  # the credit from which a record is looked at
MOVE_SECONDS = 120.0
"""What a move takes, with some patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The servers of one numerics class, as far as they count."""

    everybody: Strength
    firm: Strength  # without the claims that may still move
    claims: tuple[Claim, ...]  # those
    holders: Holders
    intentions: tuple[Intention, ...]  # of running servers that may still stay
    servers: int
    seconds_per_layer: float  # of a typical server

    def own_rate(self, leaves_at: float | None, now: float) -> float:
        """Layer-tokens per second of a server that isn't measured yet and leaves at this time."""
        return own_stay(leaves_at, now) / self.seconds_per_layer


def own_stay(leaves_at: float | None, now: float) -> float:
    """How much a server counts itself while it chooses, from 0 to 1."""
    return max(_LEAST_STAY, expected_stay(leaves_at, now))


def _stays(record: Announcement, now: float) -> bool:
    """True if it will be at its destination when a move that begins now is over."""
    if record.state is ServerState.DRAINING:  # it leaves its layers, and comes to others
        return is_moving(record)
    leaves = record.leaves_at is not None and record.leaves_at - now < MOVE_SECONDS
    return record.state in (ServerState.JOINING, ServerState.SERVING) and not leaves


def _serves_on(record: Announcement, now: float) -> bool:
    return record.state is ServerState.SERVING and not is_moving(record) and _stays(record, now)


def _numbers(records: Sequence[Announcement], num_layers: int) -> Numbers:
    """[layers] How many of these will hold each layer."""
    numbers: Numbers = np.zeros(num_layers, dtype=np.int64)
    for record in records:
        span = destination(record)
        numbers[span.start : span.end] += 1
    return numbers


def view_of(
    records: Sequence[Announcement], credit: Mapping[PeerId, float], num_layers: int, now: float
) -> View:
    """The records are of one numerics class. `credit` says how much each counts, from 0 to 1.

    `now` is in Unix seconds.
    """
    typical = typical_seconds(record for record in records if credit[record.peer_id] > 0.0)

    def counts(record: Announcement) -> float:
        return credit[record.peer_id]

    likely = [record for record in records if counts(record) >= _LIKELY]
    return View(
        everybody=expected(records, num_layers, now, counts),
        firm=expected([record for record in records if not may_move(record)], num_layers, now, counts),
        holders=Holders(
            served=_numbers([one for one in likely if _serves_on(one, now)], num_layers),
            awaited=_numbers([one for one in likely if _stays(one, now)], num_layers),
        ),
        intentions=tuple(
            Intention(
                peer_id=record.peer_id,
                model=record.model,
                origin=record.layers,
                target=record.moves_to,
                announced_at=record.announced_at,
            )
            for record in likely
            if record.moves_to is not None and record.is_undecided
        ),
        claims=tuple(
            Claim(
                peer_id=record.peer_id,
                model=record.model,
                layers=record.layers,
                layer_rate=layer_rate(record, typical, now),
                announced_at=record.announced_at,
            )
            for record in likely
            if may_move(record)
        ),
        servers=len(likely),
        seconds_per_layer=typical,
    )
