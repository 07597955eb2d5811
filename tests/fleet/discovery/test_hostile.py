"""Newcomers among hostile servers: what the simulation must see where the outcome is known."""

from __future__ import annotations

import pytest

from scripts.fleet.discovery.events import burst, loss
from scripts.fleet.discovery.hostile import hostile_day


@pytest.mark.parametrize(("share", "found"), [(0.0, 1.0), (1.0, 0.0)])
def test_with_nobody_hostile_everybody_finds_a_route_and_with_all_hostile_nobody(share: float, found: float):
    day = hostile_day(500, share, walks=2, newcomers=10, seed=1)

    assert (day.one_walk, day.disjoint, day.with_members, day.with_cells_beside) == (found,) * 4


def test_more_walks_are_captured_less_often():
    day = hostile_day(3000, 0.4, walks=4, newcomers=40, seed=1)

    assert day.one_walk < day.disjoint <= day.with_members <= day.with_cells_beside


def test_a_burst_settles_in_a_few_heartbeats_and_no_key_keeps_more_than_it_may():
    crowd = burst(5000, 3000, seed=1)

    assert crowd.records_of_key <= 128
    assert 0 < crowd.settled_seconds <= 300


def test_a_region_takes_hardly_any_key_with_it():
    gone = loss(5000, seed=1)

    assert 0.1 < gone.share < 0.5
    assert gone.cells_without_keeper < 0.01
