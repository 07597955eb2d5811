"""Servers that start together spread out over the layers, and records of nobody don't mislead them."""

from __future__ import annotations

import asyncio

import pytest

from p2pinfer.identity import Identity
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span
from scripts.benchmarks.swarm.phantoms import announce_phantoms
from scripts.benchmarks.swarm.spread import fewest
from tests.end_to_end.burst import READY_SECONDS, burst, layers_of, seconds_to_spread

SPREAD_SECONDS = 20.0


@pytest.mark.timeout(600)
async def test_six_servers_that_start_together_hold_every_layer(smollm2: LayerStore):
    """Of 30 layers ten each, without being told which. Soon after the last is seen it is settled."""
    with LocalSwarm(ready_timeout_seconds=READY_SECONDS) as servers:
        burst(servers, 6, smollm2)
        async with Swarm.join(servers.initial_peers, Identity.ephemeral(), client_only=True) as swarm:
            seconds = await seconds_to_spread(swarm, smollm2.manifest.hash, 30, 6)
        layers = layers_of(servers)

    print(f"six: {seconds:.2f} s, at least {fewest(layers, 30)} servers of a layer")
    assert fewest(layers, 30) >= 1
    assert seconds < SPREAD_SECONDS


@pytest.mark.timeout(600)
def test_twelve_servers_that_start_together_hold_every_layer_three_times(smollm2: LayerStore):
    with LocalSwarm(ready_timeout_seconds=READY_SECONDS) as servers:
        burst(servers, 12, smollm2)
        layers = layers_of(servers)

    print(f"twelve: at least {fewest(layers, 30)} servers of a layer")
    assert fewest(layers, 30) >= 3


@pytest.mark.timeout(600)
async def test_records_of_servers_that_do_not_exist_change_nothing(smollm2: LayerStore):
    """Ten of them hold layers 10:30 on paper. Three servers still make the model whole."""
    phantoms = [Identity.ephemeral() for _ in range(10)]
    async with Swarm.join((), Identity.ephemeral(), listen_maddrs=("/ip4/127.0.0.1/tcp/0",)) as swarm:
        await announce_phantoms(swarm, smollm2.manifest, Span(10, 30), phantoms)
        with LocalSwarm(ready_timeout_seconds=READY_SECONDS) as servers:
            servers.initial_peers = list(swarm.addresses)
            burst(servers, 3, smollm2)
            layers = await asyncio.to_thread(layers_of, servers)

    assert fewest(layers, 30) == 1
