"""Tunnels of a swarm in one process: Unix sockets that lead to its members' ports, by any way one says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from p2pinfer.types import Address, PeerId, Way
from tests.fakes import FakeServer


class UnixWays:
    """The ways to members that announce no endpoint. `ways` says what is between, and may change."""

    def __init__(self, members: Mapping[PeerId, FakeServer]) -> None:
        self.ways = dict.fromkeys(members, Way.RELAYED)
        self._members = members

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        return True

    def way_of_tunnel(self, peer_id: PeerId) -> Way:
        return self.ways[peer_id]

    @asynccontextmanager
    async def tunnel(self, address: Address) -> AsyncIterator[str]:
        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_connection("127.0.0.1", self._members[address.peer_id].port)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, there[1]))
                both.create_task(_pass_on(there[0], writer))

        with tempfile.TemporaryDirectory() as folder:
            async with await asyncio.start_unix_server(carry, f"{folder}/tunnel"):
                yield f"{folder}/tunnel"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
