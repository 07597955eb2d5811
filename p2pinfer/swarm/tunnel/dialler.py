"""Tunnels from here: a local Unix socket for each peer that is dialled, and a new stream where one breaks."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from p2pinfer.backoff import Backoff
from p2pinfer.errors import PeerGoneError, ProtocolError
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.tunnel.link import Link
from p2pinfer.swarm.tunnel.messages import ID_BYTES, MOST_BYTES, Kind, Refusal, encode, read_message
from p2pinfer.swarm.tunnel.streams import MAX_TUNNELS_TO_PEER, OpenedStream, abort
from p2pinfer.swarm.tunnel.tunnel_end import TunnelEnd
from p2pinfer.tasks import Nursery, cancel_and_wait, first_of
from p2pinfer.types import Address, PeerId, Way, short_id

OpenStream = Callable[[Address], Awaitable[OpenedStream]]
"""Opens a stream to a peer's acceptor, by the best way there is now. Any error means that it failed."""

RESUME_SECONDS = 10.0
"""How long a tunnel without a stream tries to get one."""

SILENT_SECONDS = 2.5
"""A tunnel whose bytes aren't acknowledged for so long looks for another stream: a router may have forgotten
the connection that carries it, and libp2p notices that only after half a minute."""

_READY_SECONDS = 5.0
_LOOK_SECONDS = 0.5
_SILENT_AGAIN_SECONDS = 10.0  # a service that doesn't read isn't a broken way
_STEADY_SECONDS = 1.0  # a stream that breaks earlier counts as a failure to open one
_PAUSES = Backoff(first_seconds=0.05, most_seconds=1.0)

_logger = logging.getLogger(__name__)


class Dialler:
    """The tunnels from this member to others."""

    def __init__(
        self,
        open_stream: OpenStream,
        folder: Path,
        *,
        max_tunnels: int = MAX_TUNNELS_TO_PEER,
        resume_seconds: float = RESUME_SECONDS,
        doubt: Callable[[PeerId], None] = lambda relay: None,
    ) -> None:
        """`folder` is for the sockets: only this user may enter it. `max_tunnels` is for one `dial`.

        `doubt` hears of relays that take a stream, and then nothing comes through them.
        """
        self.open_stream = open_stream
        self.doubt = doubt
        self.resume_seconds = resume_seconds
        self._folder = folder
        self._max_tunnels = max_tunnels
        self._tunnels: dict[PeerId, set[_Tunnel]] = {}
        self._ways: dict[PeerId, Way] = {}

    @asynccontextmanager
    async def dial(self, address: Address) -> AsyncIterator[str]:
        """Yield the path of a local Unix socket that leads to the peer's service, until the block ends.

        A connection to it is closed at once if the peer can't be reached or exposes nothing, or while p2pd is
        away: gRPC then reports UNAVAILABLE. One that stands outlives its stream (`RESUME_SECONDS`).
        """
        path = self._folder / f"{secrets.token_hex(6)}.sock"
        tunnels = Nursery()

        def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(tunnels) >= self._max_tunnels:
                _logger.debug("tunnel refused peer=%s tunnels=%d", short_id(address.peer_id), len(tunnels))
                abort(writer)
                return
            tunnel = tunnels.start(self._join(address, (reader, writer)))
            tunnel.add_done_callback(lambda _: abort(writer))  # also if it never began

        server = await asyncio.start_unix_server(on_connection, path, limit=MOST_BYTES)
        try:
            yield str(path)
        finally:
            server.close()
            await tunnels.close()
            await server.wait_closed()
            path.unlink(missing_ok=True)

    def way_to(self, peer_id: PeerId) -> Way | None:
        """The way of the newest stream to a peer; None while no tunnel leads there."""
        return self._ways.get(peer_id)

    def move(self, peer_id: PeerId) -> None:
        """A better way to this peer exists now: every tunnel moves as soon as its new stream is ready."""
        for tunnel in self._tunnels.get(peer_id, ()):
            tunnel.move()

    def took(self, peer_id: PeerId, way: Way) -> None:
        """A tunnel to `peer_id` has taken this way."""
        self._ways[peer_id] = way

    async def _join(self, address: Address, local: Stream) -> None:
        tunnel = _Tunnel(self, address, local)
        peer_id = address.peer_id
        self._tunnels.setdefault(peer_id, set()).add(tunnel)
        try:
            await tunnel.run()
        finally:
            self._tunnels[peer_id].discard(tunnel)
            if not self._tunnels[peer_id]:
                del self._tunnels[peer_id]
                self._ways.pop(peer_id, None)


class _RefusedError(Exception):
    """The other side refuses the tunnel: it won't take it later either."""


class _Tunnel:
    """One tunnel, which gets itself a new stream when it has to."""

    def __init__(self, dialler: Dialler, address: Address, local: Stream) -> None:
        self._dialler = dialler
        self._address = address
        self._id = secrets.token_bytes(ID_BYTES)
        self._end = TunnelEnd(local)
        self._tasks = Nursery()
        self._moving: asyncio.Task[None] | None = None
        self._failures = 0  # in a row, of streams
        self._deadline = 0.0  # for the next steady stream

    async def run(self) -> None:
        """Open the first stream, and live until the tunnel is over; the caller closes the connection."""
        try:
            stream = await self._dialler.open_stream(self._address)
        except Exception as error:  # noqa: BLE001 - hivemind raises errors of its own
            _logger.debug("no tunnel to %s: %s", short_id(self._address.peer_id), error)
            return
        async with self._tasks:
            self._tasks.start(self._begin(stream))
            self._tasks.start(self._watch())
            await self._end.live()

    def move(self) -> None:
        """Look for a better stream, if the tunnel has one now."""
        if self._end.link is not None and not self._end.is_over and self._moving is None:
            self._moving = self._tasks.start(self._move())

    async def _watch(self) -> None:
        """If the other end falls silent, all tunnels to this peer look for another stream. Never ends."""
        now = asyncio.get_running_loop().time
        quiet_at, not_before = now(), 0.0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._end.state.sending.kept_bytes:
                quiet_at = now()
            if now() > not_before and now() - max(quiet_at, self._end.heard_at) > SILENT_SECONDS:
                _logger.debug("silence from %s: another stream", short_id(self._address.peer_id))
                not_before = now() + _SILENT_AGAIN_SECONDS
                if (link := self._end.link) is not None and link.relay is not None:
                    self._dialler.doubt(link.relay)
                self._dialler.move(self._address.peer_id)

    async def _begin(self, stream: OpenedStream) -> None:
        """Data follow the opening at once: a round trip is saved."""
        link = Link(stream, self._end.state, 0)
        stream.writer.write(encode(Kind.OPEN, 0, self._id))
        self._attach(link)
        try:
            if await self._answer(stream):
                raise ProtocolError("a new tunnel isn't empty")
        except (OSError, EOFError, ProtocolError, _RefusedError) as error:
            self._end.fail(f"not opened: {error!r}")
        else:
            await self._carry(link)

    async def _carry(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._end.carry(link)
        if loop.time() - began > _STEADY_SECONDS:
            self._failures = 0
        if self._end.link is None and not self._end.is_over:
            await first_of(self._end.wait_over(), self._reopen())

    async def _move(self) -> None:
        try:
            await self._resume()
        except Exception as error:  # noqa: BLE001 - hivemind raises errors of its own
            _logger.debug("a tunnel to %s stays where it is: %r", short_id(self._address.peer_id), error)
        finally:
            self._moving = None

    async def _reopen(self) -> None:
        """Try until the tunnel has a stream again, or is over."""
        loop = asyncio.get_running_loop()
        await cancel_and_wait(self._moving)
        if not self._failures:
            self._deadline = loop.time() + self._dialler.resume_seconds
        while self._end.link is None:
            try:
                async with asyncio.timeout_at(self._deadline):
                    if self._failures:
                        await asyncio.sleep(_PAUSES.seconds(self._failures))
                    self._failures += 1
                    await self._resume()
            except (PeerGoneError, ProtocolError, _RefusedError) as error:
                self._end.fail(f"its stream broke: {error!r}")
                return
            except Exception as error:  # noqa: BLE001 - hivemind raises errors of its own
                if loop.time() >= self._deadline:
                    self._end.fail(f"no stream within {self._dialler.resume_seconds:g} s: {error!r}")
                    return

    async def _resume(self) -> None:
        """Go on over a new stream. Raises what prevents that; nothing has changed then."""
        state = self._end.state
        stream = await self._dialler.open_stream(self._address)
        try:
            stream.writer.write(encode(Kind.RESUME, state.receiving.delivered, self._id))
            position = await self._answer(stream)
            state.resume(position)
        except BaseException:
            abort(stream.writer)
            raise
        link = Link(stream, state, position)
        self._attach(link)
        self._tasks.start(self._carry(link))

    async def _answer(self, stream: OpenedStream) -> int:
        """As `_answer` below. If none comes, the relay is doubted, also when whoever waited has given up."""
        now = asyncio.get_running_loop().time
        began, has_answered = now(), False
        try:
            position = await _answer(stream)
            has_answered = True
            return position
        except _RefusedError:
            has_answered = True
            raise
        finally:
            if not has_answered and stream.relay is not None and now() - began > SILENT_SECONDS:
                self._dialler.doubt(stream.relay)

    def _attach(self, link: Link) -> None:
        self._dialler.took(self._address.peer_id, link.way)
        self._end.attach(link)


async def _answer(stream: OpenedStream) -> int:
    """How much the other side has of the tunnel. Raises _RefusedError, ProtocolError, OSError, EOFError."""
    async with asyncio.timeout(_READY_SECONDS):
        message = await read_message(stream.reader)
    if message.kind is Kind.READY:
        return message.offset
    if message.kind is Kind.REFUSED:
        known = message.offset in list(Refusal)
        raise _RefusedError(Refusal(message.offset).name if known else f"reason {message.offset}")
    raise ProtocolError(f"a message {message.kind.name} instead of an answer")
