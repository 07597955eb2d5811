"""What servers can do together agrees with brute force on small swarms."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.health.snapshot.estimates import (
    HOP_SECONDS,
    ServingSpeed,
    best_route_seconds,
    replicas,
    throughput,
)
from p2pinfer.types import Span

small_runners = st.lists(
    st.builds(
        lambda start, length, seconds: ServingSpeed(
            layers=Span(start, min(8, start + length)), seconds_per_layer=seconds
        ),
        st.integers(0, 7),
        st.integers(1, 8),
        st.sampled_from([None, 0.0001, 0.0003, 0.001, 0.002, 0.05]),
    ),
    max_size=7,
)


@given(small_runners)
@settings(max_examples=150)
def test_replicas_are_counted_layer_by_layer(runners: list[ServingSpeed]):
    """The stretches follow each other, and no two neighbours have the same count."""
    stretches = replicas([runner.layers for runner in runners], 8)
    counts = [stretch.replicas for stretch in stretches for _ in range(stretch.start, stretch.end)]

    assert counts == [sum(layer in runner.layers for runner in runners) for layer in range(8)]
    assert all(
        left.end == right.start and left.replicas != right.replicas for left, right in pairwise(stretches)
    )


@given(small_runners)
@settings(max_examples=150)
def test_the_best_route_is_the_cheapest_of_all_chains(runners: list[ServingSpeed]):
    """Brute force: layer by layer, on any server with the layer, plus a hop for each change of server."""
    costs: dict[int | None, float] = {None: 0.0}
    for layer in range(8):
        costs = {
            index: min(cost + (0.0 if index == before else HOP_SECONDS) for before, cost in costs.items())
            + runner.seconds_per_layer
            for index, runner in enumerate(runners)
            if layer in runner.layers and runner.seconds_per_layer and costs
        }
    found = best_route_seconds(runners, 8)

    assert found == (pytest.approx(min(costs.values())) if costs else None)


@given(small_runners)
@settings(max_examples=150)
def test_a_swarm_is_as_fast_as_its_weakest_layer(runners: list[ServingSpeed]):
    """A layer's rate is the sum over its servers; each server shares its time among its layers."""
    by_layer = [
        sum(
            1 / (len(one.layers) * one.seconds_per_layer)
            for one in runners
            if layer in one.layers and one.seconds_per_layer
        )
        for layer in range(8)
    ]

    assert throughput(runners, 8) == pytest.approx(min(by_layer))
    assert (throughput(runners, 8) == 0.0) is (min(by_layer) == 0.0)


def test_a_gap_lets_nothing_through():
    """Rounding leaves no rest: 0.1 + 0.2 - 0.1 - 0.2 is not exactly zero in floating point."""
    runners = [
        ServingSpeed(layers=Span(0, 1), seconds_per_layer=10.0),
        ServingSpeed(layers=Span(0, 2), seconds_per_layer=2.5),
        ServingSpeed(layers=Span(3, 4), seconds_per_layer=5.0),
    ]

    assert throughput(runners, 4) == 0.0
