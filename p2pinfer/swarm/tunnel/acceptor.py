"""Tunnels to our service: the streams that peers open, and the tunnels that wait for their next stream."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.errors import ProtocolError
from p2pinfer.fairness.sources import Source, peer_source
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.socket_folder import named
from p2pinfer.swarm.tunnel.link import Link
from p2pinfer.swarm.tunnel.messages import MOST_BYTES, Kind, Refusal, encode, read_message
from p2pinfer.swarm.tunnel.state import WINDOW_BYTES
from p2pinfer.swarm.tunnel.streams import (
    MAX_STREAMS,
    MAX_STREAMS_PER_PEER,
    PROTOCOL,
    OpenedStream,
    Streams,
    abort,
    closed,
)
from p2pinfer.swarm.tunnel.tunnel_end import TunnelEnd
from p2pinfer.tasks import Nursery, cancel_and_wait
from p2pinfer.types import PeerId, Way, short_id

DETACHED_SECONDS = 15.0
"""How long a tunnel without a stream is kept: longer than a dialler tries."""
IDLE_SECONDS = 60.0
"""A tunnel on which the peer has said nothing for so long ends when another peer needs its place."""

_OPEN_SECONDS = 5.0
_SILENT_SECONDS = 0.5  # then a stream without a message makes room for another one
_ENDING_SECONDS = 2.0  # for a tunnel that makes room: its peer has a second to say goodbye
_STREAMS_PER_TUNNEL = 2  # while it moves
_WINDOWS_BYTES = 64 * 1024 * 1024  # of all tunnels together
_LEAST_WINDOW_BYTES = 128 * 1024

_logger = logging.getLogger(__name__)

_Key = tuple[PeerId, bytes]


@dataclass(slots=True)
class _Tunnel:
    """A tunnel that is here, and when it ends if no stream comes for it."""

    end: TunnelEnd
    life: asyncio.Task[None]
    expiry: asyncio.TimerHandle | None = None


def window_bytes(tunnels: int) -> int:
    """How much each of so many tunnels may keep for a peer that doesn't acknowledge.

    >>> [window_bytes(number) // 1024 for number in (1, 64, 256, 4096)]
    [1024, 1024, 256, 128]
    """
    return max(_LEAST_WINDOW_BYTES, min(WINDOW_BYTES, _WINDOWS_BYTES // max(tunnels, 1)))


FindNetworks = Callable[[PeerId], Awaitable[tuple[Source, ...]]]
"""The relay through which a peer's stream comes, or the networks from which the peer is connected."""


async def nowhere(peer_id: PeerId) -> tuple[Source, ...]:
    """Nothing is known but the peer itself."""
    return ()


@asynccontextmanager
async def expose(
    swarm: Streams,
    unix_socket_path: str | Path,
    *,
    way_of: Callable[[PeerId], Way] = lambda peer_id: Way.TUNNEL,
    networks_of: FindNetworks = nowhere,
    max_streams: int = MAX_STREAMS,
    max_streams_per_peer: int = MAX_STREAMS_PER_PEER,
) -> AsyncIterator[Acceptor]:
    """Connect tunnels from other peers to the service on `unix_socket_path`, until the block ends.

    `way_of` tells how a peer is connected that opens a stream, `networks_of` from where. Yields the acceptor,
    which takes streams from elsewhere too. When p2pd is started again, tunnels go on over new streams. Raises
    SwarmError if the swarm has been left.
    """
    acceptor = Acceptor(unix_socket_path, max_streams=max_streams, max_streams_per_peer=max_streams_per_peer)

    async def on_stream(peer_id: PeerId, stream: Stream) -> None:
        await acceptor.take(peer_id, stream, way_of(peer_id), networks_of)

    await swarm.add_stream_handler(PROTOCOL, on_stream)
    try:
        yield acceptor
    finally:
        await swarm.remove_stream_handler(PROTOCOL)
        await acceptor.close()


class Acceptor:
    """The tunnels that lead to the service on a Unix socket. A tunnel belongs to the peer that opened it."""

    def __init__(
        self,
        unix_socket_path: str | Path,
        *,
        max_streams: int = MAX_STREAMS,
        max_streams_per_peer: int = MAX_STREAMS_PER_PEER,
        detached_seconds: float = DETACHED_SECONDS,
    ) -> None:
        """The limits are for tunnels, with a stream or without. While they move each may have two."""
        self._path = unix_socket_path
        self._most = max_streams
        self._most_per_peer = max_streams_per_peer
        self._detached_seconds = detached_seconds
        self._tunnels: dict[_Key, _Tunnel] = {}
        self._reserved: Counter[PeerId] = Counter()  # tunnels, those included whose service is being dialled
        self._taking: dict[asyncio.Task[object], PeerId] = {}
        self._silent: dict[asyncio.StreamWriter, float] = {}  # wait for their first message since then
        self._sources: dict[str, tuple[Source, ...]] = {}  # by the names of local connections
        self._numbers = itertools.count(1)
        self._lives = Nursery()
        self._is_closing = False

    def ways(self) -> Counter[Way]:
        """How the tunnels come in that have a stream now."""
        ends = [tunnel.end for tunnel in self._tunnels.values()]
        return Counter(end.link.way for end in ends if end.link is not None)

    def sources_of(self, name: str) -> tuple[Source, ...]:
        """Whose tunnel leads to the service's connection of this name: a peer, and where it comes from.

        The service sees the name as that of the unix socket at the other end. () if there is no such tunnel.
        """
        return self._sources.get(name, ())

    async def take(
        self, peer_id: PeerId, stream: Stream, way: Way, networks_of: FindNetworks = nowhere
    ) -> None:
        """Serve a stream that `peer_id` has opened, until it ends. It is closed here.

        Raises nothing for what the peer does. If this is cancelled, the tunnel waits for another stream.
        """
        reader, writer = stream
        if self._is_closing or not self._has_room_for_stream(peer_id):
            _logger.debug("stream refused peer=%s streams=%d", short_id(peer_id), len(self._taking))
            abort(writer)
            return
        with self._counted(peer_id):
            try:
                await self._greet(peer_id, OpenedStream(reader, writer, way), networks_of)
            except (OSError, EOFError, ProtocolError) as error:  # TimeoutError is an OSError
                _logger.debug("stream ended peer=%s: %r", short_id(peer_id), error)
                abort(writer)
            except asyncio.CancelledError:
                abort(writer)
                if not self._is_closing:
                    raise

    async def close(self) -> None:
        """End all tunnels, and refuse new ones."""
        self._is_closing = True
        await self._lives.close()
        await cancel_and_wait(*self._taking)

    def _has_room_for_stream(self, peer_id: PeerId) -> bool:
        of_peer = sum(peer == peer_id for peer in self._taking.values())
        if of_peer >= _STREAMS_PER_TUNNEL * self._most_per_peer:
            return False
        return len(self._taking) < _STREAMS_PER_TUNNEL * self._most or self._end_one_silent()

    def _end_one_silent(self) -> bool:
        """End the stream that has waited longest for its first message: who opens one speaks at once."""
        now = asyncio.get_running_loop().time()
        writer, since = next(iter(self._silent.items()), (None, now))
        if writer is None or now - since < _SILENT_SECONDS:
            return False
        del self._silent[writer]
        abort(writer)
        return True

    @contextmanager
    def _counted(self, peer_id: PeerId) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._taking[task] = peer_id
        try:
            yield
        finally:
            del self._taking[task]

    async def _greet(self, peer_id: PeerId, stream: OpenedStream, networks_of: FindNetworks) -> None:
        self._silent[stream.writer] = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                message = await read_message(stream.reader)
        finally:
            self._silent.pop(stream.writer, None)
        if message.kind is Kind.OPEN:
            answer = await self._open(peer_id, message.body, networks_of)
        elif message.kind is Kind.RESUME:
            answer = self._find(peer_id, message.body)
        else:
            raise ProtocolError(f"a message {message.kind.name} on a new stream")
        if isinstance(answer, Refusal):
            _logger.debug("tunnel refused peer=%s reason=%s", short_id(peer_id), answer.name)
            stream.writer.write(encode(Kind.REFUSED, answer))
            await closed(stream.writer)
            return
        await self._carry(answer, stream, message.offset)

    async def _open(self, peer_id: PeerId, tunnel_id: bytes, networks_of: FindNetworks) -> _Tunnel | Refusal:
        key = peer_id, tunnel_id
        if key in self._tunnels:
            return Refusal.IN_USE
        if self._reserved[peer_id] >= self._most_per_peer:
            await self._end_one_detached(peer_id)
        if self._reserved.total() >= self._most:
            await self._make_room(peer_id)
        if self._reserved[peer_id] >= self._most_per_peer or self._reserved.total() >= self._most:
            return Refusal.FULL
        self._reserved[peer_id] += 1
        name = f"tunnel-{next(self._numbers)}"
        try:
            self._sources[name] = (peer_source(peer_id), *await networks_of(peer_id))
            local = await self._dial_service(name)
        except BaseException as error:
            self._sources.pop(name, None)
            self._release(peer_id)
            if isinstance(error, OSError):
                _logger.debug("no service behind the tunnels: %r", error)
                return Refusal.NO_SERVICE
            raise
        if key in self._tunnels or self._is_closing:
            del self._sources[name]
            self._release(peer_id)
            abort(local[1])
            return Refusal.IN_USE
        end = TunnelEnd(local, lambda: window_bytes(len(self._tunnels)))
        tunnel = _Tunnel(end, self._lives.start(end.live()))
        self._tunnels[key] = tunnel

        def on_end(_: asyncio.Task[None]) -> None:  # also if it never began
            abort(local[1])
            self._stop_expiry(tunnel)
            del self._tunnels[key]
            del self._sources[name]
            self._release(peer_id)

        tunnel.life.add_done_callback(on_end)
        return tunnel

    async def _dial_service(self, name: str) -> Stream:
        """Connect to the service, on a socket with this name. Raises OSError."""
        path = os.fspath(self._path)
        local = socket.socket(socket.AF_UNIX)
        try:
            local.setblocking(False)
            with named(local, os.path.join(os.path.dirname(path), name)):
                await asyncio.get_running_loop().sock_connect(local, path)
            return await asyncio.open_unix_connection(sock=local, limit=MOST_BYTES)
        except BaseException:
            local.close()
            raise

    def _find(self, peer_id: PeerId, tunnel_id: bytes) -> _Tunnel | Refusal:
        tunnel = self._tunnels.get((peer_id, tunnel_id))
        return Refusal.UNKNOWN if tunnel is None or tunnel.end.is_over else tunnel

    async def _carry(self, tunnel: _Tunnel, stream: OpenedStream, offset: int) -> None:
        """Carry the tunnel on, from what the peer has received. Raises ProtocolError if that can't be."""
        end = tunnel.end
        try:
            end.state.resume(offset)
            stream.writer.write(encode(Kind.READY, end.state.receiving.delivered))
            link = Link(stream, end.state, offset)
            self._stop_expiry(tunnel)
            end.offer(link)
            await end.carry(link)
        finally:
            if end.link is None and not end.is_over and not tunnel.life.done() and tunnel.expiry is None:
                tunnel.expiry = asyncio.get_running_loop().call_later(
                    self._detached_seconds, end.fail, "no stream came back"
                )

    def _stop_expiry(self, tunnel: _Tunnel) -> None:
        if tunnel.expiry is not None:
            tunnel.expiry.cancel()
            tunnel.expiry = None

    def _release(self, peer_id: PeerId) -> None:
        self._reserved[peer_id] -= 1
        if not self._reserved[peer_id]:
            del self._reserved[peer_id]

    async def _make_room(self, peer_id: PeerId) -> None:
        """End the tunnel that was silent longest: of the peer with most of them, or of all if that's long.

        Identities cost nothing: a few could hold all places for ever. Who has fewer goes before who has more.
        """
        [(crowd, most)] = self._reserved.most_common(1)
        has_more = most > self._reserved[peer_id] + 1
        places = [
            (tunnel.end.heard_at, tunnel.end, tunnel.life)
            for (peer, _), tunnel in self._tunnels.items()
            if not has_more or peer == crowd
        ]
        if not places:
            return
        heard_at, end, life = min(places, key=lambda one: one[0])
        if has_more or asyncio.get_running_loop().time() - heard_at > IDLE_SECONDS:
            end.fail("another peer needs its place")
            await asyncio.wait({life}, timeout=_ENDING_SECONDS)

    async def _end_one_detached(self, peer_id: PeerId) -> None:
        """End the tunnel of this peer that has waited longest for a stream, if one waits."""
        waiting = [
            (tunnel.expiry.when(), tunnel.end, tunnel.life)
            for (peer, _), tunnel in self._tunnels.items()
            if peer == peer_id and tunnel.expiry is not None
        ]
        if waiting:
            _, end, life = min(waiting, key=lambda one: one[0])
            end.fail("its peer opens another one")
            await asyncio.wait({life}, timeout=1.0)
