"""Strangers nearer to the model's key than all honest nodes, who hold back every record."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack

from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.tasks import Nursery, all_of
from scripts.benchmarks.discovery.figures import Eclipse
from scripts.benchmarks.discovery.hostile import grind, stay_known, turn_hostile
from scripts.benchmarks.discovery.town import MODEL, SPANS, Pace, join_all, town
from scripts.benchmarks.discovery.visitor import visit
from scripts.benchmarks.shared.report import say


async def eclipse(
    members: int, hostile: int, newcomers: int, pace: Pace, price_seconds: float, chances: random.Random
) -> Eclipse:
    """Let the gang join, wait until honest records of before have expired, and send newcomers in.

    Each newcomer knows one honest member, drawn by chance. Identities are free here; that each would have
    cost `price_seconds` is added to what was computed.
    """
    key = root_key(MODEL)
    async with town(members, pace) as here, AsyncExitStack() as stack:
        began = time.process_time()
        ground, made = grind(key, [member.identity for member in here.members], hostile)
        grinding_seconds = time.process_time() - began + made * price_seconds
        gang = await join_all(stack, here.entrance, ground)
        await all_of(*(member.swarm.servers(MODEL) for member in gang))  # meets whoever is near the key
        turn_hostile(gang)
        say(f"eclipse: {hostile} hostile members among {members}; {pace.settle_seconds:g} s")
        async with Nursery() as nursery:
            pinging = nursery.start(stay_known(gang))
            await asyncio.sleep(pace.settle_seconds)
            visits = []
            for number in range(newcomers):
                known = chances.choice(here.members).swarm.addresses
                visits.append(await visit(here, known, pace.patience_seconds))
                say(f"eclipse: newcomer {number + 1} sees {visits[-1].servers} of {len(SPANS)} servers")
            pinging.cancel()
    return Eclipse(
        members=members,
        hostile=hostile,
        identities_made=made,
        grinding_seconds=grinding_seconds,
        servers=len(SPANS),
        visits=visits,
    )
