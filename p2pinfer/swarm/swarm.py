"""The swarm as this process sees it: join, announce, read the other servers' records, leave.

Everything runs in the caller's event loop, with p2pd as one child process that is started again when it ends
(membership.py). A record leaves the swarm when its lifetime is over, so a server announces itself every
15-20 s (see server/).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.addresses import by_peer, check_address, check_listen_address, is_loopback, with_quic
from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.discovery.discovery import Discovery
from p2pinfer.swarm.discovery.sampling import Sample
from p2pinfer.swarm.gossip.gossip import Gossip
from p2pinfer.swarm.gossiping import GossipNetwork
from p2pinfer.swarm.kademlia.store import Stored
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.membership.daemon import Daemon, DaemonConfig, Stream
from p2pinfer.swarm.membership.membership import Membership, Remembered
from p2pinfer.swarm.membership.pace import Pace
from p2pinfer.swarm.membership.presence import StreamHandler
from p2pinfer.swarm.reach.look import LOOK, Looker
from p2pinfer.swarm.reach.permission import Permission
from p2pinfer.swarm.reach.reaching import Reaching
from p2pinfer.swarm.reach.relay.allowance import Allowance
from p2pinfer.swarm.reach.relay.service import RelayService
from p2pinfer.swarm.reach.report import ReachReport, report_of
from p2pinfer.swarm.reach.ways import Ways
from p2pinfer.swarm.records.announcement import (
    MAX_MADDRS,
    MAX_RELAYS,
    Announcement,
    ServerState,
    fitting,
)
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.tasks import Nursery, first_of, undisturbed
from p2pinfer.types import PeerId

_CLIENT_LISTENS = ("/ip4/0.0.0.0/udp/0/quic-v1",)


class Swarm:
    """Membership in one swarm. Made by `Swarm.join`; its methods belong to the event loop that joined.

    It heals itself when p2pd ends or the network fails. Until then its methods raise SwarmError at once.
    """

    def __init__(
        self, identity: Identity, config: DaemonConfig, remembered: Remembered | None = None, **options: Any
    ) -> None:
        """Nothing happens before the membership runs. `remembered` and `options` are those of Membership."""
        self._identity = identity
        self.sign = identity.sign  # data that begin with what they are signed for
        self._membership = Membership(
            identity, config, remembered, keeps_records=self._keeps_records, **options
        )
        self.position = Position(None if remembered is None else remembered.whereabouts)
        """Where this member is in the network. Whoever measures a round trip to a server tells it."""
        self._permission = Permission(
            initial=config.initial_peers, listen=config.listen_maddrs, announce=config.announce_maddrs
        )
        self._gossip = Gossip(GossipNetwork(self._membership, self._permission))
        self._discovery = Discovery(self, identity, lambda: self.position.announced, gossip=self._gossip)
        self.reaching = Reaching(
            self,
            self._permission,
            by_peer(config.initial_peers),
            announced=[f"{maddr}/p2p/{identity.peer_id}" for maddr in config.announce_maddrs],
            is_known=bool(config.announce_maddrs) or all(map(is_loopback, config.initial_peers)),
        )
        """How others reach this member."""
        self.relay: RelayService | None = None  # while others can dial this member
        self.ways = Ways(self, self.reaching, self._permission)
        """The ways to other members."""
        self.is_hidden = False  # True: newcomers don't find us, so more members keep our records

    @property
    def peer_id(self) -> PeerId:
        """The peer id of this member."""
        return self._identity.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """Full multiaddresses, with /p2p/ID, that others can join with; empty if this member only dials."""
        return self._membership.addresses

    @property
    def private_folder(self) -> Path:
        """A folder for sockets that only this user may enter; it is removed when the swarm is left."""
        return self._membership.private_folder

    @property
    def remembered(self) -> Remembered:
        """What the next stay in this swarm can begin with: pass it to `join`."""
        return replace(self._membership.remembered, whereabouts=self.position.whereabouts)

    @property
    def daemon_pid(self) -> int | None:
        """The process id of p2pd, to measure what it uses; None between its end and its next start."""
        return self._membership.daemon_pid

    @classmethod
    @asynccontextmanager
    async def join(
        cls,
        initial_peers: Sequence[str],
        identity: Identity,
        *,
        listen_maddrs: Sequence[str] = ("/ip4/0.0.0.0/tcp/0",),
        announce_maddrs: Sequence[str] = (),
        client_only: bool = False,
        remembered: Remembered | None = None,
        allowance: Callable[[], Allowance] | None = None,
        startup_timeout_seconds: float = 20.0,
        pace: Pace | None = None,
    ) -> AsyncIterator[Swarm]:
        """Join the swarm at `initial_peers`, or begin a new swarm if there are none.

        With empty `listen_maddrs` this member dials others, but can't be dialled. With `client_only` it only
        reads: it keeps no records for others, doesn't listen, and needs no proof. Others pay first: seconds.
        `remembered`, of a former stay in this swarm, names peers to look for and ports to listen on. With
        `allowance` it relays for others, as far as that allows, while they can dial it. `pace` is for tests.

        Raises UsageError for a malformed address or an identity in use, SwarmUnreachableError if no initial
        peer answers, and SwarmError if p2pd can't be started, or this machine has no room for it.
        """
        for address in listen_maddrs:
            check_listen_address(address)
        for address in announce_maddrs:
            check_address(address)
        listen = tuple(with_quic(listen_maddrs))
        if client_only:  # QUIC dials from where it listens: only so others get through our router
            listen = _CLIENT_LISTENS if not all(map(is_loopback, initial_peers)) else ()
        config = DaemonConfig(
            initial_peers=tuple(initial_peers),
            listen_maddrs=listen,
            announce_maddrs=tuple(announce_maddrs),
            client_only=client_only,
            map_ports=not client_only and not (listen and all(map(is_loopback, listen))),
            startup_timeout_seconds=startup_timeout_seconds,
        )
        swarm = cls(identity, config, remembered=remembered, pace=pace)
        with identity.in_use():
            leave = asyncio.Event()
            joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            # A context of its own: hivemind's tasks find their owner in it, the caller's tasks don't.
            member = asyncio.get_running_loop().create_task(
                swarm._membership.run(joined, leave), context=copy_context()
            )
            try:
                await asyncio.wait({member, joined}, return_when=asyncio.FIRST_COMPLETED)
                if joined.done():
                    async with swarm._reachable(allowance, client_only=client_only):
                        yield swarm
            finally:
                leave.set()
                try:
                    await undisturbed(member)
                except OSError as error:  # a full disk, or too many open files
                    raise SwarmError(f"this machine has no room for a member of a swarm: {error}") from error

    @asynccontextmanager
    async def _reachable(
        self, allowance: Callable[[], Allowance] | None, *, client_only: bool
    ) -> AsyncIterator[None]:
        """Be reached by others, and reach them, until the block ends."""
        await self._permission.resolve()
        try:
            async with Nursery() as nursery:
                nursery.start(self.ways.run())
                if not client_only:
                    may_dial = self._permission.may_dial_back
                    looker = Looker(self.connections, lambda: self.reaching.maddrs, may_dial)
                    await self.add_stream_handler(LOOK, looker.handle)
                    nursery.start(self.reaching.run())
                    nursery.start(self._gossip.run())
                    if allowance is not None:
                        nursery.start(self._relay(allowance))
                yield
        finally:
            await self.ways.close()

    async def _relay(self, allowance: Callable[[], Allowance]) -> None:
        """Be a relay whenever others can dial this member, for ever."""
        while True:
            while not self.reaching.verdict.is_dialable:
                await self.reaching.wait_changed()
            try:
                async with RelayService(self, allowance) as self.relay:
                    while self.reaching.verdict.is_dialable:
                        await self.reaching.wait_changed()
            finally:
                self.relay = None

    async def _keeps_records(self, daemon: Daemon) -> bool:
        """Find out whether others can dial this member, when p2pd runs for the first time."""
        try:
            connected = [peer_id for peer_id, _ in await daemon.connections()]
            visible = await daemon.visible_maddrs()
        except SwarmError:
            return False
        return await self.reaching.first_verdict(daemon, connected, visible)

    async def announce(self, announcement: Announcement) -> Announcement:
        """Put our record into the swarm, or replace it. Returns the announcement as stored.

        Where this member is, and how others reach it, is filled in. `expires_at` is moved up by a millisecond
        where the record would not replace the last one otherwise.
        Raises InvalidRecordError, naming the field, for a value out of bounds, and SwarmError if no peer
        keeps the record.
        """
        if announcement.state is not ServerState.LEFT and announcement.peer_id == self.peer_id:
            announcement = fitting(
                replace(
                    announcement,
                    cell=self.position.announced,
                    maddrs=self.reaching.maddrs[:MAX_MADDRS],
                    relays=self.reaching.relays[:MAX_RELAYS],
                    is_mapped=self.reaching.verdict.is_mapped,
                    is_relay=self.relay is not None and not self.relay.stats().refusal,
                )
            )
        await self._membership.find_company()
        self._membership.presence().node.protocol.neighbourhood = self._gossip
        return await self._discovery.announce(announcement)

    async def withdraw(self, announcement: Announcement) -> None:
        """Replace our record by a tombstone: readers drop us at once, not only when the record expires.

        Raises SwarmError while p2pd is away.
        """
        await self._membership.find_company()
        await self._discovery.withdraw(announcement)

    async def servers(self, model: str) -> list[Announcement]:
        """The live servers of a model, given by its manifest hash: verified, unexpired, one per peer.

        This member is among them if it announced itself. Raises SwarmError while p2pd is away, and for a
        client if no peer answers; InvalidRecordError if `model` isn't a manifest hash.
        """
        await self._membership.find_company()
        return await self._discovery.servers(model)

    async def sample(self, model: str) -> Sample:
        """Servers of a model for somebody who shows them to others: of a large swarm a sample, and its size.

        Raises SwarmError as `servers` does; InvalidRecordError if `model` isn't a manifest hash.
        """
        await self._membership.find_company()
        return await self._discovery.sample(model)

    async def has_twin(self) -> bool:
        """True if another member has announced itself with our identity since we joined.

        Only a copy of our key can sign such a record. It replaces ours, as ours replaces it, and libp2p leads
        peers to one of the two at random. Raises SwarmError.
        """
        return await self._discovery.has_twin()

    async def models(self) -> list[ModelListing]:
        """The models that have layers on at least one server; of very many a sample. Raises SwarmError."""
        await self._membership.find_company()
        return await self._discovery.models()

    async def add_stream_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Let `handler` take every libp2p stream that a peer opens for `protocol`. The handler closes it.

        The handler stays when p2pd is started again; streams that were open then are broken.
        """
        await self._membership.add_stream_handler(protocol, handler)

    async def remove_stream_handler(self, protocol: str) -> None:
        """Take no more streams for `protocol`. Nothing happens if p2pd has ended."""
        await self._membership.remove_stream_handler(protocol)

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        """Open a libp2p stream to a peer.

        Raises SwarmError if the peer can't be reached or doesn't speak `protocol`.
        """
        return await self._membership.presence().open_stream(peer_id, protocol)

    def reach(self) -> ReachReport:
        """How others reach this member now, as far as it knows."""
        return report_of(
            self.reaching.verdict,
            self.reaching.places.held,
            tunnels_in=self.ways.tunnels_in,
            relayed=None if self.relay is None else self.relay.stats(),
        )

    async def connections(self) -> dict[PeerId, tuple[str, ...]]:
        """The peers that are connected with this member, and the multiaddress of each connection.

        It is where this member sees the peer, which behind a router is the router's. Raises SwarmError.
        """
        presence = self._membership.presence()
        connected = await presence.run(presence.connected())
        return {peer_id: tuple(addresses) for peer_id, addresses in connected.items()}

    async def connect(self, peer_id: PeerId, maddrs: Collection[str], seconds: float) -> None:
        """Connect to a peer at one of `maddrs`, unless it is connected. Raises SwarmError if that fails."""
        presence = self._membership.presence()
        transports = [maddr.partition("/p2p/")[0] for maddr in maddrs]
        await presence.run(presence.daemon.connect(peer_id, transports, seconds))

    async def disconnect(self, peer_id: PeerId) -> None:
        """Close all connections with a peer; its streams break. Raises SwarmError if p2pd doesn't do it."""
        presence = self._membership.presence()
        await presence.run(presence.daemon.disconnect(peer_id))

    async def visible_maddrs(self) -> tuple[str, ...]:
        """The full multiaddresses that p2pd knows of itself; those that a router opened for it as well.

        Raises SwarmError.
        """
        presence = self._membership.presence()
        return await presence.run(presence.daemon.visible_maddrs())

    def acquaintances(self) -> dict[PeerId, tuple[str, ...]]:
        """The peers that this member has joined through or met, and their multiaddresses."""
        return self._membership.acquaintances()

    async def wait_news(self) -> None:
        """Wait until announcements have to be made again: rejoined, or reached in another way."""
        await first_of(self.wait_rejoined(), self.reaching.wait_changed())

    async def wait_rejoined(self) -> None:
        """Wait until this member is back the next time, after p2pd ended or no peer answered.

        Announcements have to be made again then.
        """
        await self._membership.wait_rejoined()

    async def put(self, keys: Sequence[bytes], record: Record, *, shared: bool = True) -> list[Stored]:
        """Ask the keepers of each key to keep our record. See `SwarmNode.put`."""
        presence = self._membership.presence()
        return await presence.run(presence.node.put(keys, record, shared=shared, widely=self.is_hidden))

    async def get(self, keys: Sequence[bytes], *, shared: bool = True) -> list[Record]:
        """The records under `keys`: see `SwarmNode.get`. For a client, SwarmError if no peer answers."""
        presence = self._membership.presence()
        records = await presence.run(presence.node.get(keys, shared=shared))
        if presence.cut_off:  # without an answer, an empty list would be a guess
            raise SwarmError("no peer of the swarm answers: is the network down?")
        return records
