"""A client that comes for the first time and knows one honest member."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.swarm import Swarm
from scripts.benchmarks.discovery.figures import Visit, is_whole
from scripts.benchmarks.discovery.town import MODEL, Town

POLL_SECONDS = 1.0
"""As a client does that waits for servers."""


async def visit(town: Town, addresses: Sequence[str], patience_seconds: float) -> Visit:
    """Join at `addresses` and read the servers until they are a whole route of honest ones."""
    began, servers = time.monotonic(), 0
    try:
        async with Swarm.join(addresses, Identity.ephemeral(), client_only=True) as swarm:
            while time.monotonic() - began < patience_seconds:
                try:
                    spans = town.spans_of(await swarm.servers(MODEL))
                except SwarmError:
                    spans = []
                servers = len(spans)
                if is_whole(spans):
                    return Visit(seconds=time.monotonic() - began, servers=servers)
                await asyncio.sleep(POLL_SECONDS)
    except SwarmError:
        pass  # it couldn't even join: it has seen nothing
    return Visit(seconds=math.inf, servers=servers)
