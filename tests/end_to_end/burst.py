"""Real servers that join together and choose their layers themselves, and what is announced meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from p2pinfer.identity import Identity
from p2pinfer.local_swarm.server_process import READY_PREFIX
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.swarm.census.stretches import replicas
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.records.announcement import Announcement, ServerState, encode, model_key
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span

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


def fewest(spans: Sequence[Span], num_layers: int) -> int:
    """How many of the spans hold the layer that fewest hold."""
    return min(stretch.servers for stretch in replicas(spans, num_layers))


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


async def announce_phantoms(swarm: Swarm, store: LayerStore, layers: Span, number: int) -> None:
    """Publish the signed records of servers that don't exist."""
    now, manifest = time.time(), store.manifest
    presence = swarm._membership.presence()
    for index in range(number):
        identity = Identity.ephemeral()
        record = Announcement(
            peer_id=identity.peer_id,
            model=manifest.hash,
            model_name=manifest.name,
            num_layers=manifest.num_layers,
            layers=layers,
            state=ServerState.SERVING if index % 2 else ServerState.JOINING,
            numerics="native-w8a8h64-1",
            announced_at=now,
            expires_at=now + 500.0,
        )
        stored = Record(peer_id=identity.peer_id, data=encode(record, identity), expires_at=record.expires_at)
        assert await presence.run(presence.node.put(model_key(manifest.hash), stored))
