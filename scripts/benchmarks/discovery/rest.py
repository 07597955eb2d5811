"""A swarm that nobody attacks: what it sends, and how soon a new server is seen."""

from __future__ import annotations

import asyncio
import random
import time

import psutil

from p2pinfer.identity import Identity
from p2pinfer.swarm.swarm import Swarm
from scripts.benchmarks.discovery.figures import Rest
from scripts.benchmarks.discovery.town import MODEL, SPANS, Member, Pace, Town, town
from scripts.benchmarks.discovery.visitor import POLL_SECONDS
from scripts.benchmarks.shared.report import say

_HOUR_SECONDS = 3600.0


async def rest(members: int, tries: int, seconds: float, pace: Pace, chances: random.Random) -> Rest:
    """Count for so many seconds, then let plain members become servers one after another."""
    async with town(members, pace) as here:
        say(f"rest: {seconds:g} s with {members} members")
        sent = await bytes_per_node_hour(members, seconds)
        async with Swarm.join(here.entrance, Identity.ephemeral(), client_only=True) as client:
            seen_after = [
                await _seen_after(here, here.plain[number % len(here.plain)], client, chances)
                for number in range(tries)
            ]
    return Rest(members=members, bytes_per_node_hour=sent, seen_after=seen_after)


async def _seen_after(here: Town, member: Member, client: Swarm, chances: random.Random) -> float:
    """Seconds from the announcement of a server until a client that asks once a second reads it."""

    async def see() -> float:
        await asyncio.sleep(chances.uniform(0, POLL_SECONDS))
        while member.identity.peer_id not in {one.peer_id for one in await client.servers(MODEL)}:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        return time.monotonic()

    began = time.monotonic()
    seeing = asyncio.create_task(see())
    try:
        announced = await member.swarm.announce(here.announcement(member.identity, SPANS[0]))
        seconds = await seeing - began
    finally:
        seeing.cancel()
    await member.swarm.withdraw(announced)
    return seconds


async def bytes_per_node_hour(members: int, seconds: float) -> float:
    """What each of so many members sends and receives in an hour, as all of them do in so many seconds."""
    before, began = _loopback_bytes(), time.monotonic()
    await asyncio.sleep(seconds)
    rate = 2 * (_loopback_bytes() - before) / (time.monotonic() - began)  # one sends, another receives
    return rate / members * _HOUR_SECONDS


def _loopback_bytes() -> int:
    """What all programs have sent on the loopback of this network namespace. Linux only."""
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)
