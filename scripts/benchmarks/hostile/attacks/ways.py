"""Connections to a server from an address that the attacker chooses: sockets, lanes, and gRPC's calls.

gRPC can't choose where it comes from. So its channels lead to a unix socket of the attacker, from where their
bytes are copied to a connection that can.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc

from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.tasks import Nursery
from p2pinfer.wire.certificates import pinned, pinned_context
from p2pinfer.wire.channels import CHANNEL_OPTIONS
from p2pinfer.wire.hello import Hello
from p2pinfer.wire.lanes import Lane

NAME = "p2pinfer"
"""In the certificate of every server."""

CONNECT_SECONDS = 10.0
_COPY_BYTES = 64 * 1024


def place_of(server: Announcement) -> tuple[str, int]:
    """Host and port of a server's first endpoint."""
    host, _, port = server.endpoints[0].rpartition(":")
    return host, int(port)


async def connected(place: tuple[str, int], source: str) -> socket.socket:
    """A connection from this address. Raises OSError; TimeoutError, if nobody takes it."""
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.bind((source, 0))
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


async def lane_from(source: str, server: Announcement, hello: Hello, *, most_bytes: int = 1 << 22) -> Lane:
    """A lane that has said hello. Raises OSError, which the errors of TLS are."""
    sock = await connected(place_of(server), source)
    context = pinned_context(server.certificate)

    def shake_hands() -> ssl.SSLSocket:
        sock.settimeout(CONNECT_SECONDS)
        return context.wrap_socket(sock, server_hostname=NAME)

    try:
        tls = await asyncio.to_thread(shake_hands)
    except BaseException:
        sock.close()
        raise
    tls.setblocking(False)
    lane = Lane(tls, max_frame_bytes=most_bytes)
    lane.send(hello.pack())
    return lane


class Forwarder:
    """A unix socket from which connections lead to a server, from one address. A context manager."""

    def __init__(self, place: tuple[str, int], source: str) -> None:
        self._place, self._source = place, source
        self._copying = Nursery()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Yield the target for gRPC's channels."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "way")
            async with await asyncio.start_unix_server(self._take, path):
                try:
                    yield f"unix:{path}"
                finally:
                    await self._copying.close()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._copying.start(self._copy_both(reader, writer))

    async def _copy_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    there, back = await asyncio.open_connection(*self._place, local_addr=(self._source, 0))
            except OSError:
                return
            with contextlib.closing(back):
                async with Nursery() as nursery:
                    ways = {nursery.start(_copy(reader, back)), nursery.start(_copy(there, writer))}
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_COPY_BYTES):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def channel_from(source: str, server: Announcement) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC channel from this address, with a connection of its own."""
    async with Forwarder(place_of(server), source).open() as target:
        channel = grpc.aio.secure_channel(target, pinned(server.certificate), options=CHANNEL_OPTIONS)
        try:
            yield channel
        finally:
            await channel.close()


@asynccontextmanager
async def channels_from(
    sources: Iterable[str], server: Announcement
) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """A channel from each of the addresses."""
    async with AsyncExitStack() as stack:
        yield {source: await stack.enter_async_context(channel_from(source, server)) for source in sources}
