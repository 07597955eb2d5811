"""Clients that decide alone share equal servers out evenly. `scripts/bench_routing` prints the numbers."""

from __future__ import annotations

import random
import statistics
from itertools import pairwise

import pytest

from p2pinfer.types import Span
from scripts.benchmarks.routing.crowd import Crowd, busiest_to_mean


@pytest.mark.parametrize("stages", [3, 4])
@pytest.mark.parametrize(
    "crowd",
    [
        Crowd(clients=64, texts=4, arriving_seconds=0.0),
        Crowd(clients=64, texts=1, arriving_seconds=10.0),
    ],
)
def test_of_twelve_equal_servers_the_busiest_has_little_more_than_the_mean(crowd: Crowd, stages: int):
    cuts = [30 * stage // stages for stage in range(stages + 1)]
    spans = [Span(*cut) for cut in pairwise(cuts)] * (12 // stages)
    ratios = [busiest_to_mean(spans, crowd, random.Random(seed)) for seed in range(3)]
    assert statistics.median(ratios) <= 1.3
