"""Tunnels: connections through libp2p, each in one stream, from Unix socket to Unix socket.

They lead to peers that can't be dialled directly. The tunnel doesn't read what it carries: TLS ends at the
gRPC or lane connection on both sides. A round trip of gRPC on loopback takes about 0.5 ms instead of 0.25 ms.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from p2pinfer.errors import ProtocolError
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.presence import StreamHandler
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.types import PeerId, short_id

PROTOCOL = "/p2pinfer/tunnel/1"
MAX_STREAMS = 256
MAX_STREAMS_PER_PEER = 64  # a session needs up to 3; p2pd itself accepts about 256 from one peer
_CHUNK_BYTES = 64 * 1024
_LENGTH = struct.Struct(">I")
_FLUSH_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class Streams(Protocol):
    """What tunnels need of the swarm; `Swarm` documents it."""

    @property
    def private_folder(self) -> Path: ...

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream: ...

    async def add_stream_handler(self, protocol: str, handler: StreamHandler) -> None: ...

    async def remove_stream_handler(self, protocol: str) -> None: ...


@asynccontextmanager
async def expose(
    swarm: Streams,
    unix_socket_path: str | Path,
    *,
    max_streams: int = MAX_STREAMS,
    max_streams_per_peer: int = MAX_STREAMS_PER_PEER,
) -> AsyncIterator[None]:
    """Connect tunnels from other peers to the service on `unix_socket_path`, until the block ends.

    A stream beyond the limits is closed at once. When p2pd is started again, open streams break, and new ones
    work. Raises SwarmError if the swarm has been left.
    """
    bridges = _Bridges(max_streams, max_streams_per_peer)

    async def connect_service() -> Stream:
        return await asyncio.open_unix_connection(unix_socket_path)

    async def on_stream(peer_id: PeerId, stream: Stream) -> None:
        await bridges.run(peer_id, stream, connect_service, lambda remote, local: _bridge(local, remote))

    await swarm.add_stream_handler(PROTOCOL, on_stream)
    try:
        yield
    finally:
        await swarm.remove_stream_handler(PROTOCOL)
        await bridges.close()


@asynccontextmanager
async def dial(
    swarm: Streams, peer_id: PeerId, *, max_streams: int = MAX_STREAMS_PER_PEER
) -> AsyncIterator[str]:
    """Yield the path of a local Unix socket that leads to the service of `peer_id`, until the block ends.

    A connection to it is closed at once if the peer can't be reached or exposes nothing, or while p2pd is
    away: gRPC then reports UNAVAILABLE. The path stays the same when p2pd is started again.
    """
    bridges = _Bridges(max_streams, max_streams)
    path = swarm.private_folder / f"{secrets.token_hex(6)}.sock"

    async def connect_peer() -> Stream:
        return await swarm.open_stream(peer_id, PROTOCOL)

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await bridges.run(peer_id, (reader, writer), connect_peer, _bridge)

    server = await asyncio.start_unix_server(on_connection, path, limit=_CHUNK_BYTES)
    try:
        yield str(path)
    finally:
        server.close()
        await bridges.close()
        await server.wait_closed()
        path.unlink(missing_ok=True)


class _Bridges:
    """The open streams: they are counted, and end together."""

    def __init__(self, most: int, most_per_peer: int) -> None:
        self._most, self._most_per_peer = most, most_per_peer
        self._of_peer: Counter[PeerId] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def run(
        self,
        peer_id: PeerId,
        near: Stream,
        connect: Callable[[], Awaitable[Stream]],
        bridge: Callable[[Stream, Stream], Awaitable[None]],
    ) -> None:
        """Join `near` with the stream that `connect` opens, until both directions have ended."""
        if self._closing or len(self._tasks) >= self._most or self._of_peer[peer_id] >= self._most_per_peer:
            _logger.debug("tunnel refused peer=%s streams=%d", short_id(peer_id), len(self._tasks))
            await _close(near)
            return
        with self._counted(peer_id), suppress(asyncio.CancelledError):  # only `close` cancels it
            try:
                far = await connect()
            except Exception as error:  # noqa: BLE001 - hivemind raises errors of its own
                _logger.debug("tunnel failed peer=%s reason=%s", short_id(peer_id), error)
                await _close(near)
                return
            except asyncio.CancelledError:
                await _close(near)
                raise
            await bridge(near, far)

    @contextmanager
    def _counted(self, peer_id: PeerId) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._of_peer[peer_id] += 1
        try:
            yield
        finally:
            self._tasks.discard(task)
            self._of_peer[peer_id] -= 1
            if not self._of_peer[peer_id]:
                del self._of_peer[peer_id]

    async def close(self) -> None:
        """End all streams, and refuse new ones."""
        self._closing = True
        await cancel_and_wait(*self._tasks)


async def _bridge(local: Stream, remote: Stream) -> None:
    """Copy in both directions until both have ended. When one ends, the other stays open."""
    clean = False
    try:
        async with asyncio.TaskGroup() as directions:
            directions.create_task(_send(local[0], remote[1]))
            directions.create_task(_receive(remote[0], local[1]))
        clean = True
    except* (OSError, EOFError, ProtocolError) as errors:  # a break of one direction ends both
        _logger.debug("tunnel broke: %s", errors.exceptions[0])
    finally:
        await _close(local, remote, flush=clean)


async def _send(local: asyncio.StreamReader, remote: asyncio.StreamWriter) -> None:
    """Send frames: a length (u32, big-endian) and the bytes. An empty frame ends this direction.

    p2pd itself can't end one direction: it closes the whole stream.
    """
    while chunk := await local.read(_CHUNK_BYTES):
        # Not `writelines`: drain() doesn't wait after it in Python 3.12.0-3.12.8 and 3.13.0-3.13.1, and what
        # a slow reader leaves piles up here (CVE-2024-12254).
        remote.write(_LENGTH.pack(len(chunk)) + chunk)
        await remote.drain()
    remote.write(_LENGTH.pack(0))
    await remote.drain()


async def _receive(remote: asyncio.StreamReader, local: asyncio.StreamWriter) -> None:
    while True:
        (length,) = _LENGTH.unpack(await remote.readexactly(_LENGTH.size))
        if length == 0:
            local.write_eof()
            return
        if length > _CHUNK_BYTES:
            raise ProtocolError(f"a frame of a tunnel has at most {_CHUNK_BYTES} bytes, not {length}")
        local.write(await remote.readexactly(length))
        await local.drain()


async def _close(*streams: Stream, flush: bool = False) -> None:
    """Close all streams, also if this is cancelled.

    With `flush`, what is left is sent first, as far as the other sides take it in time.
    """
    writers = [writer for _, writer in streams]
    for writer in writers:
        if not flush:
            writer.transport.abort()
        writer.close()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                for writer in writers:
                    with suppress(OSError):
                        await writer.wait_closed()
    finally:
        for writer in writers:
            writer.transport.abort()
