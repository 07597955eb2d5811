"""Which servers a server measures only to know where it is."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from p2pinfer.identity import Identity
from p2pinfer.server.neighbours.landmarks import landmarks
from p2pinfer.swarm.coordinates.quantized import Quantized
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from tests.swarm.conftest import describe


def servers_in(cells: Sequence[int]) -> list[Announcement]:
    return [describe(Identity.ephemeral(), cell=Quantized(x=x, y=42, height=0)) for x in cells]


def test_each_part_of_the_network_comes_before_a_second_one_of_any():
    records = servers_in([1] * 50 + [2, 2, 3])
    for seed in range(5):
        chosen = landmarks(records, (), 4, random.Random(seed).random)
        counts = Counter(record.cell.x for record in chosen)
        assert len(chosen) == 4 and counts.keys() == {1, 2, 3}


def test_in_one_cell_they_are_drawn_by_lot():
    records = servers_in([1] * 20)
    chance = random.Random(1).random
    seen = {record.peer_id for _ in range(20) for record in landmarks(records, (), 2, chance)}

    assert len(seen) > 10


def test_nobody_is_asked_twice_or_while_it_takes_no_sessions():
    records = servers_in([1, 2, 3])
    loading = describe(Identity.ephemeral(), state=ServerState.JOINING)
    without = {record.peer_id for record in records[:2]}

    assert landmarks([*records, loading], without, 8, random.random) == records[2:]


def test_there_is_room_for_none():
    assert landmarks(servers_in([1, 2]), (), 0, random.random) == []
    assert landmarks(servers_in([1, 2]), (), -3, random.random) == []
    assert landmarks([], (), 8, random.random) == []
