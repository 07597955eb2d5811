"""Newcomers among hostile servers: what the simulation must see where the outcome is known."""

from __future__ import annotations

import pytest

from scripts.fleet.discovery.events import burst, loss
from scripts.fleet.discovery.flood import flood
from scripts.fleet.discovery.hostile import Hostile, hostile_day


@pytest.mark.parametrize(("share", "found"), [(0.0, 1.0), (1.0, 0.0)])
def test_with_nobody_hostile_everybody_finds_a_route_and_with_all_hostile_nobody(share: float, found: float):
    day = hostile_day(500, Hostile(share=share), walks=2, newcomers=10, seed=1)

    assert (day.one_walk, day.disjoint, day.by_rule, day.all_beside) == (found,) * 4


def test_more_walks_are_captured_less_often():
    worst = Hostile(share=0.4, best_ranks=True, first=True)
    day = hostile_day(3000, worst, walks=4, newcomers=40, seed=1)

    assert day.one_walk < day.disjoint <= day.by_rule <= day.all_beside


def test_those_who_are_first_and_have_the_best_ranks_hide_more_than_others():
    worst = Hostile(share=0.5, best_ranks=True, first=True)
    usual, bad = (
        hostile_day(2000, hostile, walks=2, newcomers=40, seed=1) for hostile in (Hostile(share=0.5), worst)
    )

    assert bad.disjoint < usual.disjoint


def test_no_flood_hides_those_who_were_there_first():
    after = flood(2000, 30, honest_first=True, readers=20, seed=1)

    assert (after.root, after.seen, after.cost) == (30.0, 30.0, None)


def test_those_who_come_after_a_flood_are_hidden_at_a_price():
    small, large = (flood(size, 30, honest_first=False, readers=20, seed=1) for size in (775, 5000))

    assert 30 > small.seen > large.seen
    assert small.with_cells_beside >= small.seen >= small.root
    assert small.cost is not None and large.cost is not None
    assert large.cost > small.cost > 775 * 3.5 / 30


def test_without_a_flood_everybody_is_seen():
    assert flood(0, 30, honest_first=True, readers=5, seed=1).seen == 30


def test_a_burst_settles_in_a_few_heartbeats_and_no_key_keeps_more_than_it_may():
    crowd = burst(5000, 3000, seed=1)

    assert crowd.records_of_key <= 128
    assert 0 < crowd.settled_seconds <= 300


def test_a_region_takes_hardly_any_key_with_it():
    gone = loss(5000, seed=1)

    assert 0.1 < gone.share < 0.5
    assert gone.cells_without_keeper < 0.01
