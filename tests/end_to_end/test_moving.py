"""Running servers go to the layers that lost their servers, and texts go on as they were."""

from __future__ import annotations

import asyncio
import time

import pytest

from p2pinfer.identity import Identity
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.swarm.records.announcement import ServerState
from p2pinfer.swarm.swarm import Swarm
from scripts.benchmarks.swarm.spread import fewest
from tests.end_to_end.burst import READY_SECONDS, burst, layers_of

MENDED_SECONDS = 60.0
"""From the death of a third of the servers until every layer is served again."""


@pytest.mark.timeout(600)
async def test_where_all_servers_of_some_layers_die_others_go(smollm2: LayerStore):
    """Of six servers, of which each has ten of thirty layers, two die that hold the same."""
    with LocalSwarm(ready_timeout_seconds=READY_SECONDS) as servers:
        burst(servers, 6, smollm2)
        layers = await asyncio.to_thread(layers_of, servers)
        lost = next(layer for layer in (29, 0) if layer not in layers[0])  # the first is known to all
        doomed = [index for index, span in enumerate(layers) if lost in span]
        staying = [peer_id for index, peer_id in enumerate(servers.peer_ids) if index not in doomed]
        async with Swarm.join(servers.initial_peers, Identity.ephemeral(), client_only=True) as swarm:
            began = time.monotonic()
            for index in doomed:
                servers.kill(index)
            while time.monotonic() < began + READY_SECONDS:
                records = await swarm.servers(smollm2.manifest.hash)
                serving = [
                    record.layers
                    for record in records
                    if record.state is ServerState.SERVING and record.peer_id in staying
                ]
                if fewest(serving, 30):
                    break
                await asyncio.sleep(0.1)
            seconds = time.monotonic() - began
        said = [
            line
            for server in servers.servers
            for line in server.lines
            if line.startswith(("moving", "staying"))
        ]

    print(f"{len(doomed)} of six killed, layers {layers}: whole again after {seconds:.1f} s; {said}")
    assert fewest(serving, 30) >= 1
    went = sum(line.startswith("moving") for line in said) - sum(line.startswith("staying") for line in said)
    assert went == 1, said
    assert seconds < MENDED_SECONDS
