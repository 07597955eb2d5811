"""What one text gets from a swarm agrees with brute force on small ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.health.snapshot.estimates import (
    HOP_SECONDS,
    ServingSpeed,
    best_route_seconds,
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
