"""Servers die, leave and come back in numbers while clients generate: the swarm mends itself."""

from __future__ import annotations

import os

import pytest

from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.swarm.churn import ChurnPlan, measure_churn

NUMBER = int(os.environ.get("P2PINFER_TEST_SERVERS", "12"))
"""Of forty, `scripts/bench_swarm --only churn` tells how long each step takes."""


@pytest.mark.timeout(900)
def test_servers_are_killed_drained_and_come_back_and_every_text_is_as_if_they_had_stayed(
    smollm2: LayerStore,
):
    """A quarter is killed, a quarter drains, all come back, and half of them are killed: all of some layers.

    How soon the gaps are filled depends on the machine's load, so nothing is promised about that here.
    """
    plan = ChurnPlan(servers=NUMBER, change=NUMBER // 4, clients=2, least_seconds=5.0, patience_seconds=300.0)
    found = measure_churn(smollm2, plan)

    print(found)
    assert [phase["what"] for phase in found["phases"] if phase["seconds"] is None] == []
    assert found["phases"][-1]["lost_layers"] > 0
    assert found["problems"] == []
    assert found["failed"] == []
    assert found["done"] >= plan.clients
    assert found["identical_tokens"] == found["compared_tokens"] > 0
