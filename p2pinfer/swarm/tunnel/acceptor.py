"""Tunnels to our service: the streams that peers open, and the tunnels that wait for their next stream.

Identities cost nothing, so tunnels have bounds for an identity, for the relay or the networks that it comes
through, and in all, and a part is kept for those who are known. Who makes room for a newcomer is decided in
`fairness/room.py`: first a tunnel that isn't used.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from p2pinfer.errors import ProtocolError
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.merits import Merits
from p2pinfer.fairness.room import Holder, first_to_go
from p2pinfer.fairness.shares import Bound, Lack, Shares
from p2pinfer.fairness.sources import Source, peer_source, relay_source
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.socket_folder import named
from p2pinfer.swarm.tunnel.link import Link
from p2pinfer.swarm.tunnel.messages import MOST_BYTES, Kind, Refusal, encode, read_message
from p2pinfer.swarm.tunnel.state import WINDOW_BYTES
from p2pinfer.swarm.tunnel.streams import MAX_TUNNELS_TO_PEER, PROTOCOL, OpenedStream, Streams, abort, closed
from p2pinfer.swarm.tunnel.tunnel_end import TunnelEnd
from p2pinfer.tasks import Nursery, cancel_and_wait
from p2pinfer.types import PeerId, Way, short_id

TUNNELS = Bound(in_all=256, per_source=96, per_key=MAX_TUNNELS_TO_PEER, for_known=64)
"""With a stream or without. A source is a relay, or the network of those who are directly connected."""
DETACHED_SECONDS = 15.0
"""How long a tunnel without a stream is kept: longer than a dialler tries."""
EMPTY_SECONDS = 10.0
"""A tunnel through which nothing has come so long after its opening isn't used."""
IDLE_SECONDS = 60.0
"""One on which the peer has said nothing for so long isn't either."""

_OPEN_SECONDS = 5.0
_SILENT_SECONDS = 0.5  # then a stream without a message makes room for another one
_ENDING_SECONDS = 2.0  # for a tunnel that makes room: its peer has a second to say goodbye
_STREAMS_PER_TUNNEL = 2  # while it moves
_WINDOWS_BYTES = 64 * 1024 * 1024  # of all tunnels together
_LEAST_WINDOW_BYTES = 128 * 1024

_logger = logging.getLogger(__name__)

_Key = tuple[PeerId, bytes]

FindNetworks = Callable[[PeerId], Awaitable[tuple[Source, ...]]]
"""The networks from which a peer is directly connected with us."""


async def nowhere(peer_id: PeerId) -> tuple[Source, ...]:
    """Nothing is known but the peer itself."""
    return ()


@dataclass(slots=True)
class _Tunnel:
    """A tunnel that is here, and when it ends if no stream comes for it."""

    guest: Guest
    end: TunnelEnd
    life: asyncio.Task[None]
    opened_at: float
    expiry: asyncio.TimerHandle | None = None

    def is_idle(self, now: float) -> bool:
        """True if it isn't used, as far as can be seen here."""
        state = self.end.state
        is_empty = not state.receiving.received and now - self.opened_at > EMPTY_SECONDS
        is_silent = now - self.end.heard_at > IDLE_SECONDS
        return self.expiry is not None or is_empty or is_silent or state.sending.has_ended


@dataclass(slots=True, eq=False)
class _Visit:
    """A stream that is served."""

    guest: Guest
    writer: asyncio.StreamWriter
    since: float
    has_spoken: bool = False

    def is_idle(self, now: float) -> bool:
        """True if it has had the time to say what it is for."""
        return now - self.since >= _SILENT_SECONDS


def window_bytes(tunnels: int) -> int:
    """How much each of so many tunnels may keep for a peer that doesn't acknowledge.

    >>> [window_bytes(number) // 1024 for number in (1, 64, 256, 4096)]
    [1024, 1024, 256, 128]
    """
    return max(_LEAST_WINDOW_BYTES, min(WINDOW_BYTES, _WINDOWS_BYTES // max(tunnels, 1)))


@asynccontextmanager
async def expose(
    swarm: Streams,
    unix_socket_path: str | Path,
    *,
    way_of: Callable[[PeerId], Way] = lambda peer_id: Way.TUNNEL,
    networks_of: FindNetworks = nowhere,
    merits: Merits | None = None,
) -> AsyncIterator[Acceptor]:
    """Connect tunnels from other peers to the service on `unix_socket_path`, until the block ends.

    `way_of` tells how a peer is connected that opens a stream, `networks_of` from where, and `merits` who is
    known. Yields the acceptor, which takes streams from elsewhere too. When p2pd is started again, tunnels go
    on over new streams. Raises SwarmError if the swarm has been left.
    """
    acceptor = Acceptor(unix_socket_path, networks_of=networks_of, merits=merits)

    async def on_stream(peer_id: PeerId, stream: Stream) -> None:
        await acceptor.take(peer_id, stream, way_of(peer_id))

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
        networks_of: FindNetworks = nowhere,
        merits: Merits | None = None,
        bound: Bound = TUNNELS,
        detached_seconds: float = DETACHED_SECONDS,
    ) -> None:
        """`bound` is for tunnels. While they move each may have two streams."""
        self._path = unix_socket_path
        self._networks_of = networks_of
        self._merits = Merits() if merits is None else merits
        self._detached_seconds = detached_seconds
        self._tunnels: dict[_Key, _Tunnel] = {}
        self._places = Shares(bound)  # those included whose service is being dialled
        self._streams = Shares(
            replace(
                bound,
                in_all=_STREAMS_PER_TUNNEL * bound.in_all,
                per_source=_STREAMS_PER_TUNNEL * bound.per_source,
                per_key=_STREAMS_PER_TUNNEL * bound.per_key,
                for_known=_STREAMS_PER_TUNNEL * bound.for_known,
            )
        )
        self._taking: dict[asyncio.Task[object], _Visit] = {}
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

    async def take(self, peer_id: PeerId, stream: Stream, way: Way, relay: PeerId | None = None) -> None:
        """Serve a stream that `peer_id` has opened, until it ends. It is closed here.

        `relay` is the peer through which it comes. Raises nothing for what the peer does. If this is
        cancelled, the tunnel waits for another stream.
        """
        reader, writer = stream
        guest = self._guest(peer_id, () if relay is None else (relay_source(relay),))
        if self._is_closing or not self._has_room_for_stream(guest):
            _logger.debug("stream refused peer=%s streams=%d", short_id(peer_id), len(self._taking))
            abort(writer)
            return
        with self._counted(guest, writer) as visit:
            try:
                await self._greet(peer_id, OpenedStream(reader, writer, way, relay), visit)
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

    def _guest(self, peer_id: PeerId, places: tuple[Source, ...]) -> Guest:
        sources = (peer_source(peer_id), *places)
        is_known = self._merits.guest(None, sources).is_known
        return Guest(key=peer_id.encode(), sources=sources, is_known=is_known)

    def _has_room_for_stream(self, guest: Guest) -> bool:
        """Streams that have said nothing yet make room: who opens one speaks at once."""
        if (lack := self._streams.lack(guest)) is None:
            return True
        now = asyncio.get_running_loop().time()
        silent = [
            Holder(what=visit, guest=visit.guest, is_idle=visit.is_idle(now), used_at=visit.since)
            for visit in self._taking.values()
            if not visit.has_spoken and not visit.writer.transport.is_closing()
        ]
        visit = None if lack is Lack.KEY else first_to_go(guest, lack, silent, self._streams)
        if visit is not None:
            abort(visit.writer)
        return visit is not None

    @contextmanager
    def _counted(self, guest: Guest, writer: asyncio.StreamWriter) -> Iterator[_Visit]:
        task = asyncio.current_task()
        assert task is not None
        visit = self._taking[task] = _Visit(guest, writer, asyncio.get_running_loop().time())
        self._streams.take(guest)
        try:
            yield visit
        finally:
            self._streams.give_back(guest)
            del self._taking[task]

    async def _greet(self, peer_id: PeerId, stream: OpenedStream, visit: _Visit) -> None:
        async with asyncio.timeout(_OPEN_SECONDS):
            message = await read_message(stream.reader)
        visit.has_spoken = True
        if message.kind is Kind.OPEN:
            answer = await self._open(peer_id, message.body, visit.guest)
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

    async def _open(self, peer_id: PeerId, tunnel_id: bytes, guest: Guest) -> _Tunnel | Refusal:
        key = peer_id, tunnel_id
        if key in self._tunnels:
            return Refusal.IN_USE
        if len(guest.sources) == 1:  # no relay
            guest = self._guest(peer_id, await self._networks_of(peer_id))
        if not await self._has_room(guest):
            return Refusal.FULL
        self._places.take(guest)
        name = f"tunnel-{next(self._numbers)}"
        self._sources[name] = guest.sources

        def give_back() -> None:
            self._places.give_back(guest)
            del self._sources[name]

        try:
            local = await self._dial_service(name)
        except BaseException as error:
            give_back()
            if isinstance(error, OSError):
                _logger.debug("no service behind the tunnels: %r", error)
                return Refusal.NO_SERVICE
            raise
        if key in self._tunnels or self._is_closing:
            give_back()
            abort(local[1])
            return Refusal.IN_USE
        end = TunnelEnd(local, lambda: window_bytes(len(self._tunnels)))
        tunnel = _Tunnel(guest, end, self._lives.start(end.live()), asyncio.get_running_loop().time())
        self._tunnels[key] = tunnel

        def on_end(_: asyncio.Task[None]) -> None:  # also if it never began
            abort(local[1])
            self._stop_expiry(tunnel)
            del self._tunnels[key]
            give_back()

        tunnel.life.add_done_callback(on_end)
        return tunnel

    async def _has_room(self, guest: Guest) -> bool:
        """End the tunnels that make room for a new one: one at most for each thing that it may lack."""
        for _ in range(len(Lack)):
            if (lack := self._places.lack(guest)) is None:
                return True
            now = asyncio.get_running_loop().time()
            tunnel = first_to_go(
                guest,
                lack,
                [
                    Holder(
                        what=tunnel,
                        guest=tunnel.guest,
                        is_idle=tunnel.is_idle(now),
                        used_at=tunnel.end.heard_at,
                    )
                    for tunnel in self._tunnels.values()
                    if not tunnel.end.is_over
                ],
                self._places,
            )
            if tunnel is None:
                return False
            tunnel.end.fail("another tunnel needs its place")
            await asyncio.wait({tunnel.life}, timeout=_ENDING_SECONDS)
        return self._places.lack(guest) is None

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
