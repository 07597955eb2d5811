"""When cars are there."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from scripts.fleet.stays import DAY, HOUR, Kind, Stay, stays_of


def cars(zone: int = 0) -> list[list[Stay]]:
    return [stays_of(Kind.CAR, zone, 2 * DAY, random.Random(seed)) for seed in range(200)]


def present(stays: list[list[Stay]], at: float) -> int:
    return sum(any(one.begins_at <= at < one.ends_at for one in car) for car in stays)


def test_cars_are_at_home_at_night_and_away_by_day():
    stays = cars()

    assert present(stays, DAY + 3 * HOUR) > 0.9 * len(stays)
    assert present(stays, DAY + 11 * HOUR) < 0.3 * len(stays)
    assert present(stays, DAY + 18 * HOUR) < present(stays, DAY + 20 * HOUR) < present(stays, DAY + 23 * HOUR)


def test_a_time_zone_shifts_the_day():
    for hour in (3, 11, 20):
        assert present(cars(5), DAY + (hour + 5) * HOUR) == present(cars(), DAY + hour * HOUR)


def test_stays_are_in_order_and_do_not_overlap():
    for car in cars():
        assert all(one.begins_at < one.ends_at for one in car)
        assert all(one.ends_at <= other.begins_at for one, other in pairwise(car))


def test_whoever_names_hours_says_when_it_leaves_and_may_still_leave_earlier():
    known = [one for car in cars() for one in car if one.leaves_at is not None]

    assert known
    assert all(one.ends_at <= one.leaves_at for one in known if one.leaves_at is not None)
    assert {one.is_abrupt for one in known if one.ends_at == one.leaves_at} == {False}
    assert any(one.is_abrupt for one in known)


@pytest.mark.parametrize("seed", range(5))
def test_a_computer_at_home_stays(seed: int):
    stays = stays_of(Kind.HOME, 0, 2 * DAY, random.Random(seed))

    assert sum(min(one.ends_at, 2 * DAY) - max(one.begins_at, 0.0) for one in stays) > 2 * DAY - 200.0
