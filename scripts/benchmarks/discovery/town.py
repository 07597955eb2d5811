"""Honest members with p2pd processes of their own on 127.0.0.1; some of them announce servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.kademlia.node import SwarmNode
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import Nursery, all_of
from p2pinfer.types import PeerId, Span
from scripts.benchmarks.discovery.figures import NUM_LAYERS

MODEL = "d15c" * 16
SPANS = (Span(0, 8), Span(8, 16), Span(16, 23), Span(23, NUM_LAYERS)) * 2
"""What the servers of the town announce: the whole model, twice."""

_LISTEN = ("/ip4/127.0.0.1/tcp/0",)
HEARTBEAT_SECONDS = 5.0
_JOINING_AT_ONCE = 4  # a start of p2pd takes 0.4 s of computing


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the records of honest servers live, and what is waited for."""

    lifetime_seconds: float
    settle_seconds: float  # from the attack's begin until newcomers come: longer than records live
    patience_seconds: float  # of a newcomer


@dataclass(frozen=True, slots=True)
class Member:
    """A member with its key."""

    identity: Identity
    swarm: Swarm

    @property
    def node(self) -> SwarmNode:
        """The member's node of the DHT."""
        return self.swarm._membership.presence().node


class Town:
    """A bootstrap member, a server for each of SPANS, and plain members that keep records."""

    def __init__(self, members: Sequence[Member], pace: Pace, nursery: Nursery) -> None:
        self.members = members
        self.servers = members[1 : len(SPANS) + 1]
        self.plain = members[len(SPANS) + 1 :]
        self.asleep: set[PeerId] = set()
        """Servers that announce nothing for the time being."""
        self._pace = pace
        self._nursery = nursery

    @property
    def entrance(self) -> tuple[str, ...]:
        """The addresses of the bootstrap member."""
        return self.members[0].swarm.addresses

    def spans_of(self, seen: Sequence[Announcement]) -> list[Span]:
        """The layers of those honest servers that are among the `seen`."""
        honest = {member.identity.peer_id for member in self.members}
        return [one.layers for one in seen if one.peer_id in honest]

    def announcement(self, identity: Identity, layers: Span) -> Announcement:
        """What an honest server says now."""
        return announcement(identity, layers, self._pace.lifetime_seconds)

    def become_server(self, member: Member, layers: Span = SPANS[0]) -> None:
        """Let a member announce a server every few seconds, until the town ends."""
        self._nursery.start(self._serve(member, layers))

    async def _serve(self, member: Member, layers: Span) -> None:
        while True:
            if member.identity.peer_id not in self.asleep:
                with suppress(SwarmError):  # a server goes on, whoever keeps its record
                    await member.swarm.announce(self.announcement(member.identity, layers))
            await asyncio.sleep(HEARTBEAT_SECONDS)


@asynccontextmanager
async def town(
    members: int, pace: Pace, settle: Callable[[Town], None] = lambda _: None
) -> AsyncIterator[Town]:
    """Let so many honest members join; the servers among them have announced themselves once.

    `settle` is called before they do.
    """
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(joined((), Identity.ephemeral()))
        others = await join_all(
            stack, first.swarm.addresses, [Identity.ephemeral() for _ in range(members - 1)]
        )
        async with Nursery() as nursery:
            here = Town([first, *others], pace, nursery)
            settle(here)
            for member, layers in zip(here.servers, SPANS, strict=True):
                here.become_server(member, layers)
            await asyncio.sleep(HEARTBEAT_SECONDS)
            yield here


async def join_all(
    stack: AsyncExitStack, initial_peers: Sequence[str], identities: Sequence[Identity]
) -> list[Member]:
    """Let members join, a few at a time; `stack` lets them leave."""
    members: list[Member] = []
    for begin in range(0, len(identities), _JOINING_AT_ONCE):
        some = identities[begin : begin + _JOINING_AT_ONCE]
        members += await all_of(
            *(stack.enter_async_context(joined(initial_peers, identity)) for identity in some)
        )
    return members


@asynccontextmanager
async def joined(initial_peers: Sequence[str], identity: Identity) -> AsyncIterator[Member]:
    """A member that keeps records for others."""
    async with Swarm.join(initial_peers, identity, listen_maddrs=_LISTEN) as swarm:
        yield Member(identity, swarm)


def announcement(identity: Identity, layers: Span, lifetime_seconds: float) -> Announcement:
    """Of a server that exists only in this record."""
    now = time.time()
    return Announcement(
        peer_id=identity.peer_id,
        model=MODEL,
        model_name="bench-discovery",
        num_layers=NUM_LAYERS,
        layers=layers,
        state=ServerState.SERVING,
        numerics="reference-1",
        announced_at=now,
        expires_at=now + lifetime_seconds,
    )
