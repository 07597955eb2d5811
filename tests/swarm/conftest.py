"""What the tests of swarm/ share: an announcement to begin from, and nodes on this machine only."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from p2pinfer.backoff import Backoff
from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.kademlia.node import RequestTimes, SwarmNode
from p2pinfer.swarm.membership.acquaintances import GreetingTimes
from p2pinfer.swarm.membership.pace import Pace
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import all_of
from p2pinfer.types import Span

MODEL = "ab" * 32

QUICK = Pace(
    look_seconds=0.1,
    restarts=Backoff(first_seconds=0.05, most_seconds=0.2),
    greetings=GreetingTimes(
        alone_seconds=0.2, lost_seconds=0.5, unconnected_seconds=0.5, met_seconds=0.5, remembered_seconds=60.0
    ),
    requests=RequestTimes(answer_seconds=1.5, ban_seconds=0.5),
    stop_seconds=0.5,
)
"""For members that lose p2pd or peers: what else takes seconds takes tenths."""


def describe(identity: Identity, **changes: Any) -> Announcement:
    """An announcement of `identity`, good for a minute, with `changes`."""
    now = time.time()
    fields: dict[str, Any] = {
        "peer_id": identity.peer_id,
        "model": MODEL,
        "model_name": "SmolLM2-135M-Instruct",
        "num_layers": 30,
        "layers": Span(0, 10),
        "state": ServerState.SERVING,
        "numerics": "reference-1",
        "announced_at": now,
        "expires_at": now + 60.0,
    }
    return Announcement(**{**fields, **changes})


@asynccontextmanager
async def join_here(
    initial_peers: Sequence[str] = (), identity: Identity | None = None, **options: Any
) -> AsyncIterator[Swarm]:
    """A node of its own on 127.0.0.1."""
    options.setdefault("listen_maddrs", ("/ip4/127.0.0.1/tcp/0",))
    async with Swarm.join(initial_peers, identity or Identity.ephemeral(), **options) as swarm:
        yield swarm


@asynccontextmanager
async def join_all(*joining: AbstractAsyncContextManager[Swarm]) -> AsyncIterator[list[Swarm]]:
    """Several nodes, side by side: a start of p2pd takes 0.4 s of computing."""
    async with AsyncExitStack() as members:
        yield await all_of(*(members.enter_async_context(member) for member in joining))


def node_of(swarm: Swarm) -> SwarmNode:
    """The node behind a member that is present now."""
    return swarm._membership.presence().node


async def sees(swarm: Swarm, *identities: Identity) -> bool:
    """True if `swarm` reads exactly the records of these identities."""
    return {server.peer_id for server in await swarm.servers(MODEL)} == {one.peer_id for one in identities}


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """Wait until `condition` holds; returns after how many seconds it did. Fails when `seconds` are over.

    A SwarmError counts as no: it is what is raised while a member is away.
    """
    began = time.monotonic()
    while True:
        with suppress(SwarmError):
            if await condition():
                return time.monotonic() - began
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.05)


def p2pd_of(swarm: Swarm) -> int:
    """The process id of a member's p2pd."""
    pid = swarm.daemon_pid
    assert pid is not None
    return pid


async def lose_p2pd(swarm: Swarm) -> None:
    """Kill a member's p2pd, and wait until the member has noticed."""

    async def noticed() -> bool:
        return swarm.daemon_pid != killed

    killed = p2pd_of(swarm)
    os.kill(killed, signal.SIGKILL)
    await until(noticed, 30)


@asynccontextmanager
async def rejoining(swarm: Swarm) -> AsyncIterator[None]:
    """Wait at the end of the block until `swarm` is back after what happened inside."""
    back = asyncio.create_task(swarm.wait_rejoined())
    try:
        yield
        await asyncio.wait_for(back, 30)
    finally:
        back.cancel()
