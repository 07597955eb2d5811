"""One step of a coordinate: towards where its springs are at rest, bounded, and never out of range."""

from __future__ import annotations

import math
import random

import pytest

from p2pinfer.swarm.coordinates.vivaldi import (
    BLUR_SECONDS,
    LEAST_POSITION_SECONDS,
    MOST_HEIGHT_SECONDS,
    MOST_POSITION_SECONDS,
    MOST_STEP_SECONDS,
    Coordinate,
    Spring,
    distance_seconds,
    misfit,
    moved,
)

LINE_SECONDS = 0.002


def settled(springs: list[Spring], begin: Coordinate, *, doubt_seconds: float = 0.0) -> Coordinate:
    chance, point = random.Random(1), begin
    for _ in range(300):
        point = moved(point, springs, doubt_seconds, chance.random)
    return point


def around(centre: tuple[float, float], count: int = 8) -> list[Spring]:
    """Peers in many directions, and the round trips to one who lives at `centre`."""
    chance = random.Random(2)
    peers = [Coordinate(x=chance.uniform(-0.1, 0.1), y=chance.uniform(-0.1, 0.1)) for _ in range(count)]
    return [Spring(peer, math.dist((peer.x, peer.y), centre) + LINE_SECONDS) for peer in peers]


def test_a_newcomer_finds_its_place_among_eight_peers():
    point = settled(around((0.05, -0.03)), Coordinate(), doubt_seconds=0.1)

    assert math.dist((point.x, point.y), (0.05, -0.03)) < 3 * BLUR_SECONDS


def test_lies_of_a_third_of_the_peers_move_a_settled_member_by_less_than_a_cell():
    here = settled(around((0.05, -0.03), 8), Coordinate(), doubt_seconds=0.1)
    liar = Spring(Coordinate(x=MOST_POSITION_SECONDS, y=MOST_POSITION_SECONDS), 0.005)
    lied_to = settled([*around((0.05, -0.03), 8), *[liar] * 4], here)

    assert math.dist((here.x, here.y), (lied_to.x, lied_to.y)) < 0.01


def test_a_spring_that_fits_as_well_as_cells_can_tell_has_no_force():
    own = Coordinate()
    other = Coordinate(x=0.03)
    for off in (-0.9, 0.9):
        assert moved(own, [Spring(other, 0.0302 + off * BLUR_SECONDS)], 0.0, lambda: 0.5) == own


def test_without_springs_nobody_moves():
    own = Coordinate(x=0.3)

    assert moved(own, [], 0.1, lambda: 0.5) == own


def test_a_step_is_bounded_whatever_is_said_and_measured():
    own = Coordinate(x=0.1)
    for seconds in (1e-6, 0.01, 3.0):
        for x in (LEAST_POSITION_SECONDS, 0.1, MOST_POSITION_SECONDS):
            springs = [Spring(Coordinate(x=x, y=-0.4, height=MOST_HEIGHT_SECONDS), seconds)] * 3
            after = moved(own, springs, 0.1, lambda: 0.5)
            assert math.hypot(after.x - own.x, after.y - own.y) <= MOST_STEP_SECONDS + 1e-12
            assert abs(after.height - own.height) <= MOST_STEP_SECONDS


def test_points_never_leave_the_range_whatever_is_measured():
    chance, point = random.Random(1), Coordinate()
    for _ in range(2000):
        springs = [
            Spring(
                Coordinate(
                    x=chance.uniform(LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS),
                    y=MOST_POSITION_SECONDS,
                    height=chance.uniform(0, MOST_HEIGHT_SECONDS),
                ),
                3 * chance.random(),
            )
            for _ in range(3)
        ]
        point = moved(point, springs, 0.1, chance.random)
        assert min(point.x, point.y) >= LEAST_POSITION_SECONDS
        assert max(point.x, point.y) <= MOST_POSITION_SECONDS
        assert 0 < point.height <= MOST_HEIGHT_SECONDS


def test_two_who_begin_at_the_same_point_part_in_any_direction():
    """Otherwise a whole swarm would lie on one line."""
    far = [Spring(Coordinate(), 0.08)]
    ways = {
        (after.x > 0, after.y > 0)
        for chance in (0.1, 0.3, 0.6, 0.9)
        for after in [moved(Coordinate(), far, 0.1, lambda chance=chance: chance)]  # type: ignore[misc]
    }

    assert len(ways) == 4


def test_of_those_at_the_same_point_a_part_of_the_way_becomes_height():
    after = moved(Coordinate(), [Spring(Coordinate(), 0.02)], 0.1, lambda: 0.3)

    assert after.height > Coordinate().height
    assert math.hypot(after.x, after.y) > after.height


def test_the_distance_is_the_way_and_both_lines():
    one, other = Coordinate(x=0.03, height=0.001), Coordinate(y=0.04, height=0.002)

    assert distance_seconds(one, other) == pytest.approx(0.053)


def test_a_point_fits_better_where_more_springs_are_at_rest():
    springs = around((0.05, -0.03))

    assert misfit(Coordinate(x=0.05, y=-0.03), springs) == pytest.approx(0.0)
    assert misfit(Coordinate(), springs) > 0.1
