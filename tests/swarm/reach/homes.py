"""Members on this machine that pretend to be behind routers, and a connection that can be frozen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2pinfer.swarm.addresses import tcp_endpoint
from p2pinfer.swarm.reach.verdict import Verdict
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import Nursery
from p2pinfer.types import Address
from tests.swarm.conftest import until


def hide(swarm: Swarm) -> None:
    """Have a member that doesn't listen know that nobody can dial it: here it would take itself for open."""
    swarm.reaching.verdict = Verdict(is_dialable=False, hosts=("127.0.0.1",))
    swarm.reaching._tell()


async def until_found_at(swarm: Swarm, *relays: Swarm) -> float:
    """Wait until the member has places at exactly these relays."""

    async def is_found() -> bool:
        return swarm.reaching.places.held.keys() == {relay.peer_id for relay in relays}

    return await until(is_found, 30)


def address_at(swarm: Swarm, *relays: Swarm) -> Address:
    """Where a member is found that only relays reach."""
    return Address(swarm.peer_id, (), b"", relays=tuple(relay.addresses[0] for relay in relays))


class Wire:
    """A TCP connection to a member's p2pd, through this process."""

    def __init__(self, swarm: Swarm) -> None:
        endpoint = tcp_endpoint(swarm.addresses[0])
        assert endpoint is not None
        self._target = endpoint
        self._passes = asyncio.Event()
        self._passes.set()
        self.maddr = ""

    def freeze(self) -> None:
        """Let nothing through any more, and tell nobody: as a router that has forgotten the connection."""
        self._passes.clear()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Wire]:
        """Take connections at `maddr`."""
        async with Nursery() as connections:

            async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                there = await asyncio.open_connection(*self._target)
                connections.start(self._pass_on(reader, there[1]))
                connections.start(self._pass_on(there[0], writer))

            server = await asyncio.start_server(connect, "127.0.0.1", 0)
            self.maddr = f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}"
            try:
                yield self
            finally:
                server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()
