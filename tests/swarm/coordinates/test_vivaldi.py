"""A member's coordinate: it finds its place among honest members, and no lie moves it far."""

from __future__ import annotations

import math
import random

import pytest

from p2pinfer.swarm.coordinates.vivaldi import (
    CERTAIN,
    MOST_POSITION_SECONDS,
    MOST_STEP_SECONDS,
    Coordinate,
    distance_seconds,
    moved,
)

CITIES = ((0.0, 0.0), (0.03, 0.0), (0.0, 0.08), (0.12, 0.05))
LINE_SECONDS = 0.004


def round_trip_seconds(one: int, other: int) -> float:
    """Between two members, who live in the cities in turns."""
    (x, y), (u, v) = CITIES[one % len(CITIES)], CITIES[other % len(CITIES)]
    return math.hypot(x - u, y - v) + 2 * LINE_SECONDS


def settle(members: int, chance: random.Random, liars: int = 0) -> list[Coordinate]:
    """Let members measure each other until they have settled. The last ones are liars, who never move."""
    points = [Coordinate() for _ in range(members)]
    for liar in range(members - liars, members):
        points[liar] = Coordinate(x=MOST_POSITION_SECONDS, y=-0.3, height=0.0, error=0.0)
    for _ in range(200):
        for one in range(members - liars):
            other = chance.randrange(members)
            if other != one:
                points[one] = moved(points[one], points[other], round_trip_seconds(one, other), chance.random)
    return points


def errors(points: list[Coordinate]) -> list[float]:
    """How far the distances are from the round trips, in seconds, sorted."""
    return sorted(
        abs(distance_seconds(points[one], points[other]) - round_trip_seconds(one, other))
        for one in range(len(points))
        for other in range(one)
    )


def test_members_that_measure_each_other_know_the_distances_of_those_they_never_measured():
    found = errors(settle(40, random.Random(1)))

    assert found[len(found) // 2] < 0.005
    assert found[len(found) * 9 // 10] < 0.02


def test_a_tenth_of_liars_leaves_the_others_where_they_are():
    """They claim to be certain, and half a world away from where they answer."""
    found = errors(settle(40, random.Random(1), liars=4)[:36])

    assert found[len(found) // 2] < 0.01


def test_the_members_of_a_lan_stay_within_a_third_of_a_cell():
    chance = random.Random(1)
    points = [Coordinate() for _ in range(30)]
    for _ in range(200):
        for one in range(30):
            other = (one + 1 + chance.randrange(29)) % 30
            seconds = 0.0003 + 0.0005 * chance.random()
            points[one] = moved(points[one], points[other], seconds, chance.random)

    assert max(max(abs(point.x), abs(point.y)) for point in points) < 0.0033


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 3.1, 1e300, math.inf, math.nan])
def test_a_round_trip_that_cannot_be_one_moves_nobody(seconds: float):
    own = Coordinate(x=0.01)

    assert moved(own, Coordinate(), seconds, lambda: 0.5) == own


@pytest.mark.parametrize("name", ["x", "y", "height", "error"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_a_coordinate_that_cannot_be_one_moves_nobody_far(name: str, value: float):
    """An error that is too large is only a member that trusts itself little."""
    own = Coordinate(x=0.01)

    after = moved(own, Coordinate(**{name: value}), 0.05, lambda: 0.5)

    assert after == own or (name == "error" and value > 0)


def test_one_sample_moves_a_point_by_a_bounded_step():
    own = Coordinate(error=1.0)
    liar = Coordinate(x=MOST_POSITION_SECONDS, y=MOST_POSITION_SECONDS, error=0.0)

    for seconds in (0.00001, 0.01, 3.0):
        after = moved(own, liar, seconds, lambda: 0.5)
        assert math.hypot(after.x - own.x, after.y - own.y) <= MOST_STEP_SECONDS + 1e-12


def test_points_never_leave_the_range_whatever_is_measured():
    chance = random.Random(1)
    point = Coordinate()
    for _ in range(5000):
        other = Coordinate(
            x=chance.uniform(-0.42, 0.85), y=chance.uniform(-0.42, 0.85), height=chance.uniform(0, 1.27)
        )
        point = moved(point, other, 3 * chance.random(), chance.random)
        assert abs(point.x) < 0.86 and abs(point.y) < 0.86
        assert 0 < point.height <= 1.27 and CERTAIN <= point.error <= 1
