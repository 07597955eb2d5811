"""A gateway of three servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from tests.end_to_end.gateway.running import GatewayProcess

MODEL = "SmolLM2-135M-Instruct"


@pytest.fixture(scope="package")
def swarm_of_three(smollm2: LayerStore) -> Iterator[LocalSwarm]:
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, split_layers(30, 3), threads=1)
        yield swarm


@pytest.fixture(scope="package")
def gateway(swarm_of_three: LocalSwarm) -> Iterator[GatewayProcess]:
    """It finds the model by itself."""
    with GatewayProcess("--initial-peers", *swarm_of_three.initial_peers) as running:
        running.wait_ready()
        yield running
