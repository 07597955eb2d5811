"""Which servers to measure only to know where we are: each from another part of the network. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence

from p2pinfer.backoff import Chance
from p2pinfer.swarm.coordinates.quantized import Quantized
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import PeerId


def landmarks(
    records: Sequence[Announcement], without: Container[PeerId], most: int, chance: Chance
) -> list[Announcement]:
    """At most so many servers that take sessions: one of each cell before a second one of any, by lot."""
    if most <= 0:
        return []
    drawn = sorted(
        (
            record
            for record in records
            if record.state is ServerState.SERVING and record.peer_id not in without
        ),
        key=lambda _: chance(),
    )
    taken: dict[Quantized, int] = defaultdict(int)
    turns = []
    for record in drawn:
        turns.append(taken[record.cell])
        taken[record.cell] += 1
    return [drawn[place] for place in sorted(range(len(drawn)), key=turns.__getitem__)[:most]]
