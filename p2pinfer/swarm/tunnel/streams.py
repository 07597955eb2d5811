"""The streams that carry tunnels, and how they are closed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.presence import StreamHandler
from p2pinfer.types import PeerId, Way

PROTOCOL = "/p2pinfer/tunnel/2"
MAX_TUNNELS_TO_PEER = 64  # a session needs up to 3; p2pd itself accepts about 256 streams from one peer
FLUSH_SECONDS = 5.0


class Streams(Protocol):
    """What tunnels need of the swarm; `Swarm` documents it."""

    @property
    def private_folder(self) -> Path: ...

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream: ...

    async def add_stream_handler(self, protocol: str, handler: StreamHandler) -> None: ...

    async def remove_stream_handler(self, protocol: str) -> None: ...


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream to a peer, and the way that it takes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    way: Way
    relay: PeerId | None = None  # through which it leads


def abort(writer: asyncio.StreamWriter) -> None:
    """Close at once, and throw away what waits in this process.

    Python 3.11's own abort() fails on a transport that was closed and has flushed its rest since.
    """
    transport = writer.transport
    if transport.get_write_buffer_size() or not transport.is_closing():
        transport.abort()


def drop(writer: asyncio.StreamWriter) -> None:
    """Close at once. What the kernel has taken still arrives, what waits in this process doesn't."""
    if writer.transport.get_write_buffer_size():
        abort(writer)
    else:
        writer.close()


async def closed(writer: asyncio.StreamWriter, flush_seconds: float | None = FLUSH_SECONDS) -> None:
    """Close, and wait until the other side has taken what is left, at most for `flush_seconds`.

    If this is cancelled, the rest is thrown away.
    """
    writer.close()
    try:
        with suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(flush_seconds):
                await writer.wait_closed()
    finally:
        abort(writer)
