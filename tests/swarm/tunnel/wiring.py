"""Both ends of tunnels in this process, on socket pairs instead of libp2p streams: these can be cut."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from p2pinfer.errors import SwarmError
from p2pinfer.fairness.shares import Bound
from p2pinfer.identity import Identity
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.tunnel.acceptor import TUNNELS, Acceptor
from p2pinfer.swarm.tunnel.dialler import Dialler
from p2pinfer.swarm.tunnel.streams import OpenedStream, abort
from p2pinfer.tasks import Nursery
from p2pinfer.types import Address, PeerId, Way

SERVER = Identity.ephemeral().peer_id
CLIENT = Identity.ephemeral().peer_id

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def address_of(peer_id: PeerId) -> Address:
    """An address that only a tunnel leads to."""
    return Address(peer_id, (), b"")


@asynccontextmanager
async def service(path: Path, handler: Handler) -> AsyncIterator[None]:
    """A server on a Unix socket whose connections end with the block."""
    writers: list[asyncio.StreamWriter] = []

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        handlers.start(handler(reader, writer))

    async with Nursery() as handlers:
        server = await asyncio.start_unix_server(take, path)
        try:
            yield
        finally:
            server.close()
            for writer in writers:
                abort(writer)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back, and end when the other side does."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
    except OSError:
        abort(writer)


async def stream_pair() -> tuple[Stream, Stream]:
    """A connection within this process."""
    ours, theirs = socket.socketpair()
    return await asyncio.open_unix_connection(sock=ours), await asyncio.open_unix_connection(sock=theirs)


class Wires:
    """What leads from the dialler to the acceptor, and can be cut."""

    def __init__(self, acceptor: Acceptor, streams: Nursery) -> None:
        self.acceptor = acceptor
        self.way = Way.RELAYED
        self.error: Exception | None = None
        self.opened = 0
        self.peer_id = CLIENT
        self.relay: PeerId | None = None
        self._streams = streams
        self._writers: list[asyncio.StreamWriter] = []

    async def open_stream(self, address: Address) -> OpenedStream:
        """Open a stream as `Dialler` asks for it."""
        if self.error is not None:
            raise self.error
        if address.peer_id != SERVER:
            raise SwarmError("no such peer")
        reader, writer = await self.open_raw()
        self.opened += 1
        return OpenedStream(reader, writer, self.way)

    async def open_raw(self) -> Stream:
        """A stream that the acceptor takes."""
        ours, theirs = await stream_pair()
        self._writers += [ours[1], theirs[1]]
        self._streams.start(self.acceptor.take(self.peer_id, theirs, self.way, self.relay))
        return ours

    def cut(self) -> None:
        """End all streams at once, with what is on them."""
        writers, self._writers = self._writers, []
        for writer in writers:
            abort(writer)


def at_most(in_all: int, per_key: int, *, per_source: int | None = None, for_known: int = 0) -> Bound:
    """So many tunnels of all, and of one peer."""
    return Bound(in_all=in_all, per_source=per_source or in_all, per_key=per_key, for_known=for_known)


async def say(wires: Wires, *messages: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream and send messages on it."""
    reader, writer = await wires.open_raw()
    for message in messages:
        writer.write(message)
    return reader, writer


@asynccontextmanager
async def wired(
    handler: Handler = echo,
    *,
    resume_seconds: float = 10.0,
    detached_seconds: float = 15.0,
    bound: Bound = TUNNELS,
) -> AsyncIterator[tuple[Wires, Dialler]]:
    """A service, an acceptor before it, and a dialler that reaches it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with service(folder / "s.sock", handler), Nursery() as streams:
            acceptor = Acceptor(
                folder / "s.sock",
                bound=bound,
                detached_seconds=detached_seconds,
            )
            wires = Wires(acceptor, streams)
            try:
                yield wires, Dialler(wires.open_stream, folder, resume_seconds=resume_seconds)
            finally:
                await acceptor.close()
