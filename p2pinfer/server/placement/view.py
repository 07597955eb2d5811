"""What a server that chooses its layers sees of its model: who stays where, and who may still move. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from p2pinfer.server.placement.settling import Claim, may_move
from p2pinfer.swarm.census.strength import Strength, expected, expected_stay, layer_rate, typical_seconds
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import PeerId

_LEAST_STAY = 0.05
"""A server that leaves soon still prefers some layers to others."""
_LIKELY = 0.5  # the credit from which a claim is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The servers of one numerics class, as far as they count."""

    everybody: Strength
    firm: Strength  # without the claims that may still move
    claims: tuple[Claim, ...]  # those
    seconds_per_layer: float  # of a typical server

    def own_rate(self, leaves_at: float | None, now: float) -> float:
        """Layer-tokens per second of a server that isn't measured yet and leaves at this time."""
        return max(_LEAST_STAY, expected_stay(leaves_at, now)) / self.seconds_per_layer


def view_of(
    records: Sequence[Announcement], credit: Mapping[PeerId, float], num_layers: int, now: float
) -> View:
    """The records are of one numerics class. `credit` says how much each counts, from 0 to 1.

    `now` is in Unix seconds.
    """
    typical = typical_seconds(record for record in records if credit[record.peer_id] > 0.0)

    def counts(record: Announcement) -> float:
        return credit[record.peer_id]

    return View(
        everybody=expected(records, num_layers, now, counts),
        firm=expected([record for record in records if not may_move(record)], num_layers, now, counts),
        claims=tuple(
            Claim(
                peer_id=record.peer_id,
                model=record.model,
                layers=record.layers,
                layer_rate=layer_rate(record, typical, now),
                announced_at=record.announced_at,
            )
            for record in records
            if may_move(record) and counts(record) >= _LIKELY
        ),
        seconds_per_layer=typical,
    )
