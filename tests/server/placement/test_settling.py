"""Servers that join at the same time spread out, each for itself."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.server.placement.choice import Newcomer, Sizes
from p2pinfer.server.placement.settling import MOST_LOOKS, Claim, Looks, settled
from p2pinfer.types import PeerId, Span
from tests.server.placement.burst import Burst, Car, burst

MODEL = "ab" * 32


def claim(name: str, start: int = 0, end: int = 10, *, at: float = 0.0) -> Claim:
    return Claim(peer_id=PeerId(name), model=MODEL, layers=Span(start, end), layer_rate=10.0, announced_at=at)


def settled_one(claims: list[Claim], index: int) -> Span:
    """Where one of these servers goes, of which none may stay before it looks."""
    ours = claims[index]
    us = Newcomer(peer_id=ours.peer_id, model=MODEL, sizes=Sizes.exactly(10), layer_rate=ours.layer_rate)
    return settled(np.zeros(30), [other for other in claims if other is not ours], ours, us)


def test_of_those_that_claim_the_same_layers_all_but_the_best_rank_choose_anew():
    """And each knows where the others go: with one look, six servers hold every layer twice."""
    claims = [claim(f"server {number}") for number in range(6)]
    spans = [settled_one(claims, index) for index in range(6)]
    best = min(range(6), key=lambda index: claims[index].rank)

    assert spans[best] == Span(0, 10)
    assert sorted(spans) == [Span(0, 10)] * 2 + [Span(10, 20)] * 2 + [Span(20, 30)] * 2


def test_claims_that_are_well_spread_stay():
    claims = [claim("a", 0, 10), claim("b", 10, 20), claim("c", 20, 30)]

    assert [settled_one(claims, index) for index in range(3)] == [one.layers for one in claims]


def test_ranks_change_from_day_to_day():
    """Nobody has to give way always."""
    best = {min("abc", key=lambda name: claim(name, at=day * 86_400.0).rank) for day in range(40)}

    assert best == {"a", "b", "c"}


def test_it_looks_once_where_nobody_else_comes_and_a_few_times_otherwise():
    alone, together, restless = Looks(), Looks(), Looks()

    assert alone.are_enough([], moved=False)
    assert not together.are_enough([claim("a")], moved=False)
    assert together.are_enough([claim("a")], moved=False)
    assert [restless.are_enough([claim(str(look))], moved=True) for look in range(MOST_LOOKS)][-1]
    assert not Looks().are_enough([], moved=False, waiting=True)


@given(
    seed=st.integers(0, 10**6),
    within_seconds=st.sampled_from([0.0, 0.3, 1.0, 4.0]),
    latest_seconds=st.sampled_from([0.05, 0.3, 0.6]),
)
@settings(max_examples=12)
def test_six_and_twelve_servers_that_start_together_hold_every_layer_about_equally(
    seed: int, within_seconds: float, latest_seconds: float
):
    """Ten layers of thirty each, with any delays until their records are seen. Nobody waits for 3 s."""
    for number, least in ((6, 1), (12, 3)):
        happened = burst(number, seed=seed, within_seconds=within_seconds, latest_seconds=latest_seconds)

        assert min(happened.replicas) >= least
        assert happened.longest_wait < 3.0


@pytest.mark.parametrize("seed", range(2))
def test_a_burst_of_forty_holds_every_layer_about_equally(seed: int):
    happened = burst(40, seed=seed)

    assert min(happened.replicas) >= 11  # of 13.3
    assert happened.longest_wait < 3.0


def test_servers_that_choose_how_many_layers_they_take_leave_no_gap():
    for seed in range(5):
        happened = burst(9, seed=seed, sizes=Sizes(least=4, usual=7, most=9))

        assert min(happened.replicas) >= 1


@pytest.mark.parametrize("seed", range(6))
def test_unequal_servers_leave_no_gap_either(seed: int):
    """Of other sizes and speeds, and with files on their disks, which the others don't know of."""
    chance, cars = random.Random(seed), []
    for index in range(12):
        size = chance.randint(5, 15)
        held = chance.randint(0, 30 - size)
        newcomer = Newcomer(
            peer_id=PeerId(f"{seed}-{index}"),
            model=MODEL,
            sizes=Sizes.exactly(size),
            layer_rate=chance.choice([300.0, 1000.0, 3000.0]),
            held=frozenset(range(held, held + size)) if index % 2 else (),
        )
        cars.append(Car(newcomer, starts_at=chance.uniform(0.0, 1.0)))
    happening = Burst(cars, 30, 0.4, chance)
    happening.run()

    assert min(happening.replicas) >= 1
