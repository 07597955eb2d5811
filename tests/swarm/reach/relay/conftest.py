"""What the tests of relays share: three members on this machine, of whom one relays for the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest_asyncio

from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay.allowance import Allowance
from p2pinfer.swarm.reach.relay.asking import Reservation, on_introduction, on_relayed, reserve
from p2pinfer.swarm.reach.relay.framing import close_streams
from p2pinfer.swarm.reach.relay.passed import PassedOn
from p2pinfer.swarm.reach.relay.service import RelayService
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import PeerId
from tests.swarm.conftest import join_all, join_here


@dataclass
class Trio:
    """A relay, and two members that are connected with it and not with each other."""

    relay: Swarm
    server: Swarm
    client: Swarm
    allowance: Allowance = field(default_factory=Allowance)

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[RelayService]:
        """The relay at work, under `allowance` as it is at each moment."""
        async with RelayService(self.relay, lambda: self.allowance, passed=PassedOn()) as service:
            yield service

    @asynccontextmanager
    async def serving(
        self,
        handler: Callable[[PeerId, Stream], Awaitable[None]],
        introduced: Callable[[PeerId, tuple[str, ...]], Awaitable[tuple[str, ...]]] | None = None,
    ) -> AsyncIterator[Reservation]:
        """The server with a reservation, taking streams and introductions from the relay."""
        async with AsyncExitStack() as stack:
            relayed = on_relayed(self.server, lambda asker, stream, _: handler(asker, stream), self.is_relay)
            await stack.enter_async_context(relayed)
            if introduced is not None:
                await stack.enter_async_context(on_introduction(self.server, introduced, self.is_relay))
            yield await stack.enter_async_context(reserve(self.server, self.relay.peer_id, beat_seconds=0.2))

    def is_relay(self, peer_id: PeerId) -> bool:
        return peer_id == self.relay.peer_id


@asynccontextmanager
async def new_trio() -> AsyncIterator[Trio]:
    async with join_here() as relay:
        joining = [join_here(relay.addresses, client_only=True) for _ in range(2)]
        async with join_all(*joining) as (server, client):
            yield Trio(relay, server, client)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trio() -> AsyncIterator[Trio]:
    """For all tests of a module: what a test opens it closes."""
    async with new_trio() as trio:
        yield trio
        trio.allowance = Allowance()


async def echo(_: PeerId, stream: Stream) -> None:
    """Send back what comes."""
    reader, writer = stream
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        await close_streams(stream)


async def settled(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
