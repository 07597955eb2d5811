"""Connections through libp2p: the bytes of each carried by one stream, from unix socket to unix socket.

For peers that can't be dialled directly. Nothing is looked at on the way: TLS ends at the two ends, of
gRPC or of a lane. A loopback round trip of gRPC costs about 0.5 ms instead of 0.25.
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

from p2pinfer.errors import ProtocolError
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.types import PeerId, short_id

PROTOCOL = "/p2pinfer/tunnel/1"
MAX_STREAMS = 256
MAX_STREAMS_PER_PEER = 64  # a session needs up to three; p2pd stops accepting from a peer at about 256
_CHUNK_BYTES = 64 * 1024
_LENGTH = struct.Struct(">I")
_FLUSH_SECONDS = 5.0

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def expose(
    swarm: Swarm,
    unix_socket_path: str | Path,
    *,
    max_streams: int = MAX_STREAMS,
    max_streams_per_peer: int = MAX_STREAMS_PER_PEER,
) -> AsyncIterator[None]:
    """Lead tunnels from other peers to the service that listens on `unix_socket_path`, until the block ends.

    A stream beyond the limits is closed at once. When p2pd is started again, the streams that were open are
    broken, and new ones are led on. Raises SwarmError if the swarm has been left.
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
    swarm: Swarm, peer_id: PeerId, *, max_streams: int = MAX_STREAMS_PER_PEER
) -> AsyncIterator[str]:
    """Give the path of a local unix socket that leads to the service of `peer_id`, until the block ends.

    A connection to it is closed at once if the peer can't be reached or exposes nothing, and while p2pd is
    away: to gRPC the service is then UNAVAILABLE. The path stays the same when p2pd is started again.
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
    """The streams that are open: counted, and ended together."""

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
        with self._counted(peer_id), suppress(asyncio.CancelledError):  # cancelled by `close` only
            try:
                far = await connect()
            except Exception as error:  # noqa: BLE001 - hivemind raises its own; whatever it is, there's no way
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
        self._closing = True
        await cancel_and_wait(*self._tasks)


async def _bridge(local: Stream, remote: Stream) -> None:
    """Copy both ways until both have ended. An end of one direction leaves the other open."""
    clean = False
    try:
        async with asyncio.TaskGroup() as directions:
            directions.create_task(_send(local[0], remote[1]))
            directions.create_task(_receive(remote[0], local[1]))
        clean = True
    except* (OSError, EOFError, ProtocolError) as errors:  # what breaks one direction ends both
        _logger.debug("tunnel broke: %s", errors.exceptions[0])
    finally:
        await _close(local, flush=clean)
        await _close(remote, flush=clean)


async def _send(local: asyncio.StreamReader, remote: asyncio.StreamWriter) -> None:
    """Frames of a length and so many bytes; an empty one says that this direction has ended.

    p2pd can't do that: it closes the whole stream when one side of it ends.
    """
    while chunk := await local.read(_CHUNK_BYTES):
        remote.writelines((_LENGTH.pack(len(chunk)), chunk))
        await remote.drain()  # the slower side sets the pace; nothing piles up here
    remote.write(_LENGTH.pack(0))
    await remote.drain()


async def _receive(remote: asyncio.StreamReader, local: asyncio.StreamWriter) -> None:
    while True:
        (length,) = _LENGTH.unpack(await remote.readexactly(_LENGTH.size))
        if length == 0:
            local.write_eof()
            return
        if length > _CHUNK_BYTES:
            raise ProtocolError(f"a tunnel's frame has at most {_CHUNK_BYTES} bytes, not {length}")
        local.write(await remote.readexactly(length))
        await local.drain()


async def _close(stream: Stream, *, flush: bool = False) -> None:
    """Close, after sending what is left if `flush` and if the other side takes it in time."""
    writer = stream[1]
    if not flush:
        writer.transport.abort()
    writer.close()
    try:
        with suppress(OSError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await writer.wait_closed()
    finally:
        writer.transport.abort()
