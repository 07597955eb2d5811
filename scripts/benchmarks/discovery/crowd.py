"""More servers than a cell has, in four cities: each cell is smaller here than where strangers meet."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.cells import climb, descent
from p2pinfer.swarm.coordinates.quantized import Quantized
from p2pinfer.swarm.swarm import Swarm
from scripts.benchmarks.discovery.figures import Crowd, CrowdVisit, is_whole
from scripts.benchmarks.discovery.rest import bytes_per_node_hour
from scripts.benchmarks.discovery.town import HEARTBEAT_SECONDS, MODEL, SPANS, Pace, Town, town
from scripts.benchmarks.shared.report import say

CITIES = tuple(Quantized(x=x, y=y, height=0) for x in (20, 100) for y in (20, 100))
SPLIT, MERGE, FEW = 12, 6, 2
_HEARTBEATS = 3


@dataclass(frozen=True, slots=True)
class _In:
    """Stands for a member's position: all members of this program are on one machine."""

    announced: Quantized


async def crowd(members: int, newcomers: int, seconds: float, pace: Pace, chances: random.Random) -> Crowd:
    """Let all members be servers, in cities by turns; then newcomers come, each in a city drawn by chance."""
    with _small_cells():
        async with town(members, pace, _settle) as here:
            for number, member in enumerate(here.plain):
                here.become_server(member, SPANS[number % len(SPANS)])
            await asyncio.sleep(_HEARTBEATS * HEARTBEAT_SECONDS)
            say(f"cells: {seconds:g} s with {members} members, cells of {SPLIT}")
            sent = await bytes_per_node_hour(members, seconds)
            homes = [member.swarm._discovery._tree(MODEL).climb for member in [*here.servers, *here.plain]]
            stores = [member.node.protocol.records for member in here.members]
            visits = [
                await _visit(here, chances.choice(here.members).swarm.addresses, chances.choice(CITIES), pace)
                for _ in range(newcomers)
            ]
    return Crowd(
        members=members,
        split=SPLIT,
        bytes_per_node_hour=sent,
        homes=[one.home for one in homes],
        keys_of_server=[2 * len(one.depths) for one in homes],
        records_of_node=[len(store) for store in stores],
        visits=visits,
    )


async def _visit(here: Town, addresses: Sequence[str], city: Quantized, pace: Pace) -> CrowdVisit:
    """Join, and read the servers as one does who lives in that city."""
    neighbours = {
        member.identity.peer_id
        for member in [*here.servers, *here.plain]
        if member.swarm.position.announced == city
    }
    began = time.monotonic()
    async with Swarm.join(addresses, Identity.ephemeral(), client_only=True) as swarm:
        swarm.position = _In(city)  # type: ignore[assignment]
        while time.monotonic() - began < pace.patience_seconds:
            try:
                servers = await swarm.servers(MODEL)
            except SwarmError:
                continue
            if is_whole(here.spans_of(servers)):
                found = neighbours & {server.peer_id for server in servers}
                return CrowdVisit(
                    seconds=time.monotonic() - began,
                    neighbours_found=len(found),
                    neighbours=len(neighbours),
                    cells_read=len(swarm._discovery.sizes(MODEL)),
                )
            await asyncio.sleep(1.0)
    return CrowdVisit(seconds=math.inf, neighbours_found=0, neighbours=len(neighbours), cells_read=0)


def _settle(here: Town) -> None:
    for number, member in enumerate([*here.servers, *here.plain]):
        member.swarm.position = _In(CITIES[number % len(CITIES)])  # type: ignore[assignment]


@contextmanager
def _small_cells() -> Iterator[None]:
    with (
        patch.object(climb, "SPLIT", SPLIT),
        patch.object(climb, "MERGE", MERGE),
        patch.object(descent, "FEW", FEW),
    ):
        yield
