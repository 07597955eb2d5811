"""Real servers that join together and choose their layers themselves."""

from __future__ import annotations

import asyncio
import time

from p2pinfer.local_swarm.server_process import READY_PREFIX
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span
from scripts.benchmarks.swarm.spread import fewest

READY_SECONDS = 240.0


def burst(swarm: LocalSwarm, number: int, store: LayerStore) -> None:
    """Start servers at once, each for ten layers of its own choice. The first founds the swarm if need be."""
    small = ("--max-cache-tokens", "256", "--num-layers", "10")
    swarm.launch(store.folder, [None] * number, threads=1, server_arguments=small)


def layers_of(swarm: LocalSwarm) -> list[Span]:
    """Wait until all are ready; what each of them serves, as it says itself."""
    swarm.wait_ready()
    said = [line for server in swarm.servers for line in server.lines if line.startswith(READY_PREFIX)]
    return [Span.parse(line.split()[2]) for line in said]


async def seconds_to_spread(swarm: Swarm, model: str, num_layers: int, number: int) -> float:
    """Watch so many servers join; the seconds from when all are seen until every layer is held or settled.

    Their start is that of Python and p2pd, which takes this machine seconds: it begins here.
    """
    began: float | None = None
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        records = await swarm.servers(model)
        settled = [record.layers for record in records if not record.is_undecided]
        if began is None and len(records) >= number:
            began = time.monotonic()
        if began is not None and fewest(settled, num_layers):
            return time.monotonic() - began
        await asyncio.sleep(0.05)
    raise TimeoutError
