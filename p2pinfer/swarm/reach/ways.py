"""The ways from this member to others, and from others to its service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from p2pinfer.errors import PeerGoneError, RelayRefusedError, SwarmError
from p2pinfer.fairness.merits import Merits
from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.addresses import ip_of
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.presence import takes_connections
from p2pinfer.swarm.reach.meetings import Meetings
from p2pinfer.swarm.reach.member import Member
from p2pinfer.swarm.reach.permission import Permission
from p2pinfer.swarm.reach.reaching import Reaching
from p2pinfer.swarm.reach.relay.asking import connect_through, on_introduction, on_relayed
from p2pinfer.swarm.reach.relay.observed import networks
from p2pinfer.swarm.reach.relay.sightings import Sightings
from p2pinfer.swarm.reach.staggered import first_success
from p2pinfer.swarm.reach.verdict import is_public
from p2pinfer.swarm.tunnel.acceptor import Acceptor, expose
from p2pinfer.swarm.tunnel.dialler import Dialler
from p2pinfer.swarm.tunnel.streams import PROTOCOL, OpenedStream, abort
from p2pinfer.tasks import Nursery
from p2pinfer.types import Address, PeerId, Way, short_id

CONNECTED_HEAD_START_SECONDS = 0.5
"""For a connection that exists. It may be one through a router that has forgotten it."""
CONNECT_SECONDS = 4.0
GONE_SECONDS = 2.0
"""A peer whose port refuses connections for so long is gone: p2pd is started again within a second."""
REFUSAL_FORGOTTEN_SECONDS = 15.0
"""A refusal that is older says nothing about now."""
MISSING_SECONDS = 1.5
"""The same for a peer that no relay finds: it has its place back a second after p2pd is started again."""
DOUBTED_SECONDS = 300.0
"""For so long a relay through which nothing came is asked after the others."""
_PING = "/ipfs/ping/1.0.0"
_PING_BYTES = 32
_PING_SECONDS = 3.0
_LOOK_SECONDS = 5.0
_MOST_NOTES = 1024

_logger = logging.getLogger(__name__)


class Ways:
    """What `wire.dialling.Ways` asks for, on the swarm's streams. For the event loop."""

    def __init__(self, member: Member, reaching: Reaching, permission: Permission) -> None:
        self._member = member
        self._reaching = reaching
        self._permission = permission
        self._meetings = Meetings(member, self.may_dial)
        self._acceptor: Acceptor | None = None
        self._sightings = Sightings(member)
        self._relayed: dict[PeerId, tuple[Address, float]] = {}  # to be met; since when
        self._poor_relays: dict[PeerId, float] = {}  # through which nothing came, and when
        self._refusing: dict[PeerId, tuple[float, float]] = {}  # its ports: since when, and when last
        self._missing: dict[PeerId, tuple[float, float]] = {}  # at its relays, likewise
        self._doubting = Nursery()
        self._doubted: set[PeerId] = set()

    @cached_property
    def _dialler(self) -> Dialler:
        # Made when it is needed: the folder is there from the join on.
        return Dialler(self._open, self._member.private_folder, doubt=self._note_poor_relay)

    async def run(self) -> None:
        """Meet those that are reached through relays, again and again. Never ends."""
        while True:
            connected: Mapping[PeerId, tuple[str, ...]] = {}
            with suppress(SwarmError):
                connected = await self._connections()
            now = asyncio.get_running_loop().time()
            for peer_id, (address, since) in list(self._relayed.items()):
                if self._dialler.way_to(peer_id) is not Way.RELAYED:
                    if now - since > _LOOK_SECONDS:  # a tunnel takes its stream a moment after it is opened
                        del self._relayed[peer_id]
                elif peer_id not in connected:
                    self._meet(address)
                elif peer_id not in self._doubted:
                    self._dialler.move(peer_id)
            await asyncio.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """End what is tried in the background."""
        await self._doubting.close()
        await self._meetings.close()

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        """True if this host, an IP address without brackets, is the peer's to give."""
        return self._permission.may_dial(peer_id, host)

    def tunnel(self, address: Address) -> AbstractAsyncContextManager[str]:
        """Yield the path of a local Unix socket that leads to the peer's service, until the block ends."""
        return self._dialler.dial(address)

    def way_of_tunnel(self, peer_id: PeerId) -> Way | None:
        """How what a tunnel carries reaches this peer now; None if none is open, or it has no stream yet."""
        return self._dialler.way_to(peer_id)

    @property
    def tunnels_in(self) -> Mapping[Way, int]:
        """The tunnels that others have open to the service here, by their way."""
        return {} if self._acceptor is None else self._acceptor.ways()

    def sources_of(self, name: str) -> tuple[Source, ...]:
        """Whose tunnel leads to the exposed service's connection of this name; see `Acceptor.sources_of`."""
        return () if self._acceptor is None else self._acceptor.sources_of(name)

    @asynccontextmanager
    async def expose(
        self, unix_socket_path: str | Path, merits: Merits | None = None
    ) -> AsyncIterator[Acceptor]:
        """Connect tunnels from other peers to the service on `unix_socket_path`, until the block ends.

        They come directly, or through the relays where this member has a place. `merits` says who is known.
        """
        member, places = self._member, self._reaching.places
        exposed = expose(
            member, unix_socket_path, way_of=self._way_in, networks_of=self._networks_of, merits=merits
        )
        async with exposed as acceptor:

            async def take(peer_id: PeerId, stream: Stream, relay: PeerId) -> None:
                await acceptor.take(peer_id, stream, Way.RELAYED, relay)

            def is_relay(peer_id: PeerId) -> bool:
                return peer_id in places.held

            async with (
                on_relayed(member, take, is_relay),
                on_introduction(member, self._meetings.on_introduction, is_relay),
            ):
                self._acceptor = acceptor
                try:
                    yield acceptor
                finally:
                    self._acceptor = None

    async def _networks_of(self, peer_id: PeerId) -> tuple[Source, ...]:
        """From where a peer is directly connected with us, as far as p2pd says."""
        try:
            seen = await self._sightings.of(peer_id)
        except SwarmError:
            return ()
        return networks(seen)

    def _way_in(self, peer_id: PeerId) -> Way:
        """How a peer has come that is directly connected with us."""
        if self._reaching.places.held:
            return Way.PUNCHED
        return Way.MAPPED if self._reaching.verdict.is_mapped else Way.TUNNEL

    async def _open(self, address: Address) -> OpenedStream:
        """Open a stream for a tunnel, the best way first, others beside it a moment later.

        Raises PeerGoneError if the peer is known to be gone, SwarmError if it can't be reached now.
        """
        peer_id, relays = address.peer_id, _by_peer(address.relays)
        is_connected = peer_id in await self._connections()
        attempts: list[Callable[[], Coroutine[Any, Any, OpenedStream]]] = []
        if is_connected or address.maddrs or not relays:
            attempts.append(partial(self._open_directly, address, is_connected=is_connected))
        for relay in sorted(relays, key=self._is_poor):
            attempts.append(partial(self._open_through, relay, relays[relay], peer_id))
        try:
            found = await first_success(attempts, CONNECTED_HEAD_START_SECONDS, _drop)
        except ExceptionGroup as errors:  # not `except*`: it would wrap what is raised here
            raise self._as_one(peer_id, errors.exceptions) from errors
        self._missing.pop(peer_id, None)
        if found.way is Way.RELAYED:
            self._relayed[peer_id] = address, asyncio.get_running_loop().time()
            if is_connected:
                self._doubt(address)
            else:
                self._meet(address)
        return found

    def _doubt(self, address: Address) -> None:
        """A connection hasn't answered at once: if it doesn't answer at all, have another one."""
        if address.peer_id not in self._doubted:
            self._doubted.add(address.peer_id)
            self._doubting.start(self._prove(address))

    async def _prove(self, address: Address) -> None:
        peer_id = address.peer_id
        try:
            if not await self._answers(peer_id):
                with suppress(SwarmError):
                    await self._member.disconnect(peer_id)
                self._meet(address)
        finally:
            self._doubted.discard(peer_id)

    async def _open_directly(self, address: Address, *, is_connected: bool) -> OpenedStream:
        peer_id = address.peer_id
        if is_connected and not await self._answers(peer_id):
            await self._member.disconnect(peer_id)
            is_connected = False
        if not is_connected and (maddrs := await self._permission.dialable(peer_id, address.maddrs)):
            if not await takes_connections(maddrs):
                raise self._refused(peer_id)
            await self._member.connect(peer_id, maddrs, CONNECT_SECONDS)
        self._refusing.pop(peer_id, None)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await self._member.open_stream(address.peer_id, PROTOCOL)
        except TimeoutError as error:
            raise SwarmError(f"peer {short_id(address.peer_id)} took no stream") from error
        try:
            return OpenedStream(reader, writer, await self._direct_way(address))
        except BaseException:  # another way was faster, say: nobody else knows of the stream
            abort(writer)
            raise

    async def _answers(self, peer_id: PeerId) -> bool:
        """True if a connection still leads to the peer. Opening a stream proves nothing: it sends nothing."""
        try:
            async with asyncio.timeout(_PING_SECONDS):
                reader, writer = await self._member.open_stream(peer_id, _PING)
                try:
                    writer.write(bytes(_PING_BYTES))
                    await reader.readexactly(_PING_BYTES)
                finally:
                    abort(writer)
        except (OSError, EOFError, SwarmError):  # TimeoutError is an OSError
            return False
        return True

    def _refused(self, peer_id: PeerId) -> SwarmError:
        is_gone = self._seconds_since_first(self._refusing, peer_id) > GONE_SECONDS
        kind = PeerGoneError if is_gone else SwarmError
        return kind(f"no port of peer {short_id(peer_id)} takes connections")

    def _as_one(self, peer_id: PeerId, errors: Sequence[BaseException]) -> SwarmError:
        """What to raise where every attempt failed: a relay that answers knows whether the peer is there.

        The peer isn't gone as long as another relay has only refused to pass the stream on.
        """
        words = "; ".join(map(str, errors))
        is_missing = any(isinstance(error, PeerGoneError) for error in errors)
        if not is_missing or any(isinstance(error, RelayRefusedError) for error in errors):
            return SwarmError(f"peer {short_id(peer_id)} can't be reached: {words}")
        is_gone = self._seconds_since_first(self._missing, peer_id) > MISSING_SECONDS
        kind = PeerGoneError if is_gone else SwarmError
        return kind(f"peer {short_id(peer_id)} has gone: {words}")

    def _seconds_since_first(self, noted: dict[PeerId, tuple[float, float]], peer_id: PeerId) -> float:
        now = asyncio.get_running_loop().time()
        since, last = noted.pop(peer_id, (now, now))
        if now - last > REFUSAL_FORGOTTEN_SECONDS:
            since = now
        noted[peer_id] = since, now
        while len(noted) > _MOST_NOTES:
            del noted[next(iter(noted))]
        return now - since

    async def _open_through(self, relay: PeerId, maddrs: Sequence[str], target: PeerId) -> OpenedStream:
        if relay not in await self._connections():
            if not (usable := await self._permission.dialable(relay, maddrs)):
                raise SwarmError(f"no address of relay {short_id(relay)} is dialled from here")
            await self._member.connect(relay, usable, CONNECT_SECONDS)
        reader, writer = await connect_through(self._member, relay, target)
        return OpenedStream(reader, writer, Way.RELAYED, relay)

    def _note_poor_relay(self, relay: PeerId) -> None:
        """Ask others first for a while: this one says that it passes bytes on, and doesn't."""
        self._poor_relays.pop(relay, None)
        self._poor_relays[relay] = asyncio.get_running_loop().time()
        while len(self._poor_relays) > _MOST_NOTES:
            del self._poor_relays[next(iter(self._poor_relays))]

    def _is_poor(self, relay: PeerId) -> bool:
        since = self._poor_relays.get(relay)
        return since is not None and asyncio.get_running_loop().time() - since < DOUBTED_SECONDS

    async def _direct_way(self, address: Address) -> Way:
        """How a peer is reached with which we are connected."""
        if address.is_mapped:
            return Way.MAPPED
        seen = (await self._connections()).get(address.peer_id, ())
        is_outside = any((ip := ip_of(maddr)) is not None and is_public(ip) for maddr in seen)
        return Way.PUNCHED if address.relays and is_outside else Way.TUNNEL

    async def _connections(self) -> Mapping[PeerId, tuple[str, ...]]:
        connected = await self._member.connections()
        self._permission.saw(connected)  # who is there may be dialled there
        return connected

    def _meet(self, address: Address) -> None:
        """Try in the background to be connected with the peer, and move there then."""
        peer_id = address.peer_id
        self._meetings.begin(peer_id, _by_peer(address.relays), lambda: self._dialler.move(peer_id))


def _by_peer(maddrs: Sequence[str]) -> Mapping[PeerId, list[str]]:
    """Full multiaddresses by their peer, without its id."""
    found: dict[PeerId, list[str]] = {}
    for maddr in maddrs:
        transport, _, peer_id = maddr.partition("/p2p/")
        found.setdefault(PeerId(peer_id), []).append(transport)
    return found


async def _drop(stream: OpenedStream) -> None:
    abort(stream.writer)
