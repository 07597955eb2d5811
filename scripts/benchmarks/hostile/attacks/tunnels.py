"""Streams of the tunnel from a few identities, that hold its places."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

from p2pinfer.identity import Identity
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel.messages import ID_BYTES, Kind, encode
from p2pinfer.swarm.tunnel.streams import PROTOCOL, closed
from scripts.benchmarks.hostile.attacks.scene import Scene, for_ever

_READ_BYTES = 4096


async def tunnels(scene: Scene) -> None:
    """Each identity opens as many tunnels to the last server as it gets, and leaves them silent."""
    identities, streams = scene.number("identities"), scene.number("streams")
    async with AsyncExitStack() as stack:
        members = [
            await stack.enter_async_context(
                Swarm.join(scene.initial_peers, Identity.ephemeral(), client_only=True)
            )
            for _ in range(identities)
        ]
        for member in members:
            await member.connect(scene.last.peer_id, scene.last.maddrs, 10.0)

        async def work(index: int) -> None:
            member = members[index % identities]
            reader, writer = await member.open_stream(scene.last.peer_id, PROTOCOL)
            scene.tally.counts["streams"] += 1
            try:
                if scene.numbers.get("silent"):
                    await asyncio.sleep(0)
                else:
                    writer.write(encode(Kind.OPEN, 0, os.urandom(ID_BYTES)))
                while await reader.read(_READ_BYTES):
                    scene.tally.counts["answers"] += 1
                scene.tally.counts["closed by the server"] += 1
            finally:
                await closed(writer, 0.1)

        await for_ever(scene, identities * streams, work, rate=scene.numbers["rate"])
