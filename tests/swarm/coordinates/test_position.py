"""Members that see nothing but each other's cells find their places, stay there, and outlive liars."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from p2pinfer.swarm.coordinates.position import (
    FEWEST_PEERS,
    KEPT_SECONDS,
    MOST_PEERS,
    MOST_ROUND_TRIPS,
    Position,
    Whereabouts,
    as_json,
    from_json,
)
from p2pinfer.swarm.coordinates.quantized import ORIGIN, Quantized
from p2pinfer.swarm.coordinates.vivaldi import Coordinate
from p2pinfer.types import PeerId, Way
from tests.swarm.coordinates.simulated import Lie, Simulated, seconds_between

LAN = ((0.001,),)
TWO_CITIES = ((0.003, 0.1), (0.1, 0.003))
SEVEN_AND_THREE = tuple(
    tuple(0.003 if (one < 7) == (other < 7) else 0.1 for other in range(10)) for one in range(10)
)
THREE_REGIONS = ((0.005, 0.04, 0.08), (0.04, 0.005, 0.06), (0.08, 0.06, 0.005))
WORLD = (
    (0.005, 0.09, 0.16, 0.28),
    (0.09, 0.005, 0.25, 0.2),
    (0.16, 0.25, 0.005, 0.3),
    (0.28, 0.2, 0.3, 0.005),
)
"""Seconds between four continents. No plane has such distances."""
FAR = Quantized(x=127, y=127, height=0)


@pytest.mark.parametrize("members", [6, 30])
def test_the_members_of_three_regions_find_each_other_and_stay(members: int):
    swarm = Simulated(THREE_REGIONS, members)
    swarm.run(40)
    swarm.run(20)
    errors = swarm.errors()

    assert swarm.apart() <= 2
    assert errors[len(errors) // 2] <= 0.01
    assert errors[len(errors) * 9 // 10] <= 0.02
    assert swarm.changes <= members / 2  # in 60 measurements of each


@pytest.mark.parametrize("ways", [TWO_CITIES, SEVEN_AND_THREE], ids=["halves", "a large and a small one"])
def test_two_cities_part_though_everybody_begins_at_the_origin(ways: tuple[tuple[float, ...], ...]):
    swarm = Simulated(ways, 20)
    swarm.run(40)
    errors = swarm.errors()

    assert swarm.apart() <= 2
    assert errors[len(errors) * 9 // 10] <= 0.025


def test_continents_that_no_plane_fits_are_apart_and_hold_still():
    swarm = Simulated(WORLD, 16)
    swarm.run(40)
    swarm.run(20)
    errors = swarm.errors()

    assert swarm.apart() <= 2
    assert errors[len(errors) * 9 // 10] <= 0.06
    assert swarm.changes <= 2 * 16


@pytest.mark.parametrize("seed", range(3))
def test_a_lan_stays_in_the_cell_of_the_origin_for_ever(seed: int):
    """One round trip of twenty meets a queue of up to 100 ms."""
    swarm = Simulated(LAN, 12, seed=seed)
    swarm.run(60)
    swarm.run(60)

    assert {swarm.announced(member) for member in swarm.honest} == {ORIGIN}
    assert swarm.changes == 0


LIES = {
    "far away": Lie(FAR),
    "behind a long line": Lie(Quantized(x=127, y=127, height=127)),
    "60 ms away": Lie(Quantized(x=48, y=42, height=0)),
    "200 ms away": Lie(Quantized(x=62, y=42, height=0)),
    "slow answers": Lie(ORIGIN, delay_seconds=0.3),
}


def pulled_seconds(swarm: Simulated) -> float:
    x, y = swarm.centre()
    return math.hypot(x - ORIGIN.x, y - ORIGIN.y) * 0.01


def check_nobody_is_parted(swarm: Simulated) -> None:
    errors = swarm.errors()
    assert errors[len(errors) // 2] <= 0.03
    assert errors[len(errors) * 9 // 10] <= 0.05


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_third_that_turns_hostile_pulls_the_others_by_less_than_150_ms_together(lie: Lie):
    swarm = Simulated(THREE_REGIONS, 27)
    swarm.run(30)
    swarm.lie = lie
    swarm.run(40)

    assert pulled_seconds(swarm) < 0.15
    check_nobody_is_parted(swarm)


@pytest.mark.parametrize("cells", [6, 15])
def test_lies_that_run_ahead_of_those_they_pull_do_not_pull_further(cells: int):
    swarm = Simulated(THREE_REGIONS, 27)
    swarm.run(30)
    for _ in range(8):
        swarm.lie = Lie(Quantized(x=int(swarm.centre()[0] + cells), y=42, height=0))
        swarm.run(5)
        assert pulled_seconds(swarm) < 0.15
    check_nobody_is_parted(swarm)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_third_that_turns_hostile_does_not_move_a_lan(lie: Lie):
    swarm = Simulated(LAN, 18)
    swarm.run(20)
    swarm.lie = lie
    swarm.run(60)

    assert pulled_seconds(swarm) == 0.0
    assert swarm.apart() == 0


def test_a_swarm_that_begins_with_a_hostile_third_comes_back_to_less_than_150_ms():
    """At first nobody can tell who lies: all are pulled by up to 400 ms."""
    swarm = Simulated(THREE_REGIONS, 27, lie=Lie(FAR))
    swarm.run(10)
    assert 0.15 < pulled_seconds(swarm) < 0.4
    swarm.run(50)
    assert pulled_seconds(swarm) < 0.15
    check_nobody_is_parted(swarm)


def test_a_newcomer_knows_its_place_after_eight_servers():
    swarm = Simulated(THREE_REGIONS, 30)
    swarm.run(40)
    for region in range(3):
        position = swarm.newcomer()
        for other in range(8):
            seconds = THREE_REGIONS[region][other % 3] * 1.05
            position.measured(PeerId(f"peer {other}"), swarm.announced(other), seconds)
        neighbour = swarm.announced(region)
        assert seconds_between(position.announced, neighbour) <= 0.03


def test_a_machine_that_has_moved_finds_its_new_place():
    swarm = Simulated(THREE_REGIONS, 30)
    swarm.run(40)
    position = Position(swarm.positions[0].whereabouts, chance=swarm.chance.random)
    for other in [*range(1, 12)] * 3:
        position.measured(PeerId(f"peer {other}"), swarm.announced(other), THREE_REGIONS[2][other % 3])

    assert seconds_between(position.announced, swarm.announced(2)) <= 0.03


def test_until_three_peers_are_measured_nobody_moves():
    """Of two, nobody can tell which one lies."""
    position = Position()
    for number in range(FEWEST_PEERS - 1):
        for _ in range(50):
            position.measured(PeerId(f"peer {number}"), FAR, 0.001)

    assert position.announced == ORIGIN
    assert position.whereabouts is None


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 3.1, 1e300, math.inf, math.nan])
def test_a_round_trip_that_cannot_be_one_is_left_out(seconds: float):
    position = Position()
    for number in range(10):
        position.measured(PeerId(f"peer {number}"), FAR, seconds)

    assert position.whereabouts is None


def test_the_way_through_a_relay_is_left_out():
    position = Position()
    for number in range(10):
        position.measured(PeerId(f"peer {number}"), ORIGIN, 0.2, Way.RELAYED)

    assert position.whereabouts is None


def test_the_shortest_of_the_last_round_trips_counts():
    """A queue in a busy home is no way through the network."""
    position = Position(chance=random.Random(1).random)
    for _ in range(3):
        for number in range(5):
            position.measured(PeerId(f"peer {number}"), ORIGIN, 0.002)
    before = position.whereabouts
    for _ in range(MOST_ROUND_TRIPS - 1):
        for number in range(5):
            position.measured(PeerId(f"peer {number}"), ORIGIN, 0.3)

    assert before is not None and position.whereabouts is not None
    assert position.whereabouts.point == before.point


def test_a_lan_that_became_far_away_is_believed_when_the_short_round_trips_are_old():
    position = Position(chance=random.Random(1).random)
    for seconds, times in ((0.002, 5), (0.1, 30)):
        for _ in range(times):
            for number in range(5):
                position.measured(PeerId(f"peer {number}"), ORIGIN, seconds)

    assert seconds_between(position.announced, ORIGIN) > 0.05


def test_of_many_peers_those_measured_last_are_kept_and_none_for_more_than_an_hour():
    time = 0.0
    position = Position(now=lambda: time)
    for number in range(3 * MOST_PEERS):
        position.measured(PeerId(f"peer {number}"), ORIGIN, 0.001)
    assert len(position._peers) == MOST_PEERS
    time = KEPT_SECONDS + 1
    position.measured(PeerId("peer 0"), ORIGIN, 0.001)

    assert list(position._peers) == ["peer 0"]


def test_what_is_announced_survives_the_process_and_whatever_is_measured_first():
    swarm = Simulated(THREE_REGIONS, 30)
    swarm.run(40)
    for member in range(3):
        kept = from_json(json.loads(json.dumps(as_json(swarm.positions[member].whereabouts))))  # type: ignore[arg-type]
        again = Position(kept, chance=swarm.chance.random)
        assert again.announced == swarm.announced(member)
        again.measured(PeerId("a liar"), FAR, 0.001)
        again.measured(PeerId("another"), FAR, 0.001)
        assert again.announced == swarm.announced(member)


def spoil(change: Callable[[dict[str, Any]], object]) -> object:
    good = as_json(Whereabouts(point=Coordinate(x=0.1), doubt_seconds=0.01, announced=ORIGIN))
    change(good)
    return good


@pytest.mark.parametrize(
    "read",
    [
        None,
        [],
        {},
        spoil(lambda kept: kept.update(point=[0.0, 0.0])),
        spoil(lambda kept: kept.update(point=[0.0, "0.0", 0.001])),
        spoil(lambda kept: kept.update(point=[9.0, 0.0, 0.001])),
        spoil(lambda kept: kept.update(point=[0.0, math.nan, 0.001])),
        spoil(lambda kept: kept.update(point=[0.0, 10**400, 0.001])),
        spoil(lambda kept: kept.update(doubt=-1)),
        spoil(lambda kept: kept.update(doubt=None)),
        spoil(lambda kept: kept.update(announced=[42, 42, 128])),
        spoil(lambda kept: kept.update(announced=[42, 42.0, 0])),
        spoil(lambda kept: kept.update(announced=[10**400, 42, 0])),
    ],
    ids=[
        "nothing", "a list", "empty", "two numbers", "a text", "out of range", "not a number", "huge",
        "negative doubt", "no doubt", "no cell", "half a cell", "a huge cell",
    ],
)  # fmt: skip
def test_what_is_no_position_is_refused_with_a_value_error(read: object):
    with pytest.raises(ValueError, match=r"position|coordinate's number"):
        from_json(read)


def test_a_cell_that_does_not_fit_the_kept_point_is_not_announced():
    kept = Whereabouts(point=Coordinate(), doubt_seconds=0.01, announced=FAR)

    assert Position(kept).announced == ORIGIN
