"""The swarm as this process sees it: join, announce oneself, read who else is there, leave.

Everything runs in the caller's own event loop, with p2pd as one child process. Records stay in the swarm for
their lifetime only, so a server announces itself again and again (every 15-20 s, see server/).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hivemind.p2p import PeerID
from hivemind.utils.multiaddr import Multiaddr

from p2pinfer.errors import SwarmError
from p2pinfer.swarm.addresses import (
    check_address,
    check_peer_address,
    is_loopback,
    joinable,
    with_quic,
)
from p2pinfer.swarm.announcement import Announcement, ServerState, decode, encode, model_key
from p2pinfer.swarm.bounds import check_model
from p2pinfer.swarm.daemon import Daemon, DaemonConfig, Stream, run_daemon, unreachable
from p2pinfer.swarm.hardening import TaskOwner, current_owner
from p2pinfer.swarm.identity import Identity
from p2pinfer.swarm.listing import (
    LISTING_KEY,
    ListingEntry,
    ModelListing,
    decode_listing,
    encode_listing,
    summarize,
)
from p2pinfer.swarm.node import SwarmNode
from p2pinfer.swarm.validator import Record
from p2pinfer.types import PeerId

MAX_CLOCK_DIFFERENCE_SECONDS = 20.0
_EXPIRY_STEP_SECONDS = 0.001  # what makes a record newer than the one it replaces
_REJOIN_SECONDS = 20.0
_LEAVE_SECONDS = 3.0

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Swarm:
    """Membership in one swarm. Made by `Swarm.join`; its methods are for the loop that joined."""

    def __init__(self, identity: Identity, initial_peers: Sequence[str], owner: TaskOwner) -> None:
        self._identity = identity
        self._initial_peers = {check_peer_address(address): address for address in initial_peers}
        self._owner = owner
        self._context: Context = copy_context()
        self._context.run(current_owner.set, owner)
        self._newest_expiry: dict[bytes, float] = {}
        self._tried_rejoining_at = time.monotonic()
        self._open = False
        self._daemon: Daemon
        self._node: SwarmNode
        self.addresses: tuple[str, ...] = ()
        """Full multiaddresses, with /p2p/ID, that others join with. Empty if we don't listen."""

    @property
    def peer_id(self) -> PeerId:
        """Who we are in this swarm."""
        return self._identity.peer_id

    @property
    def private_folder(self) -> Path:
        """A folder for sockets that only this user may enter; it vanishes when the swarm is left."""
        return self._daemon.folder

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
        startup_timeout_seconds: float = 20.0,
    ) -> AsyncIterator[Swarm]:
        """Join the swarm at `initial_peers`, or begin a new one if there are none.

        `listen_maddrs` may be empty: then nobody can dial us, only answer. `client_only` reads but keeps
        nothing for others, and doesn't listen. Raises UsageError for a malformed address or an identity in
        use, SwarmUnreachableError if nobody answers, SwarmError if the node can't be started.
        """
        for address in (*listen_maddrs, *announce_maddrs):
            check_address(address)
        swarm = cls(identity, initial_peers, TaskOwner())
        listen = () if client_only else tuple(with_quic(listen_maddrs))
        public = not client_only and not (listen and all(map(is_loopback, listen)))
        config = DaemonConfig(
            initial_peers=tuple(initial_peers),
            listen_maddrs=listen,
            announce_maddrs=tuple(announce_maddrs),
            client_only=client_only,
            use_relays=public,
            startup_timeout_seconds=startup_timeout_seconds,
        )
        with identity.in_use():
            leave = asyncio.Event()
            joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            # A task of its own: hivemind's tasks inherit its context, the caller's don't.
            member = asyncio.get_running_loop().create_task(
                swarm._be_member(config, joined, leave), context=swarm._context
            )
            try:
                await asyncio.wait({member, joined}, return_when=asyncio.FIRST_COMPLETED)
                if joined.done():
                    yield swarm
            finally:
                leave.set()
                await _finish(member)

    async def announce(self, announcement: Announcement) -> Announcement:
        """Tell the swarm about us, or tell it again. Returns the announcement as stored.

        `expires_at` is moved up by a millisecond where needed to replace what was said before. Raises
        InvalidRecordError, naming the field, for what may not be announced; SwarmError if nobody keeps it.
        """
        key = model_key(announcement.model)
        announcement = replace(announcement, expires_at=self._later(key, announcement.expires_at))
        listing = ListingEntry(
            peer_id=announcement.peer_id,
            listing=ModelListing(
                model=announcement.model,
                model_name=announcement.model_name,
                num_layers=announcement.num_layers,
            ),
            left=announcement.state is ServerState.LEFT,
            announced_at=announcement.announced_at,
            expires_at=self._later(LISTING_KEY, announcement.expires_at),
        )
        await self._rejoin_if_needed()
        kept, _ = await asyncio.gather(
            self._put(key, encode(announcement, self._identity), announcement.expires_at),
            self._put(LISTING_KEY, encode_listing(listing, self._identity), listing.expires_at),
        )
        if not kept:
            raise SwarmError("no peer of the swarm keeps our record: the network may be down, or it is full")
        return announcement

    async def withdraw(self, announcement: Announcement) -> None:
        """Say that we left: readers drop us at once instead of when our record expires."""
        now = time.time()
        await self.announce(
            replace(
                announcement,
                state=ServerState.LEFT,
                leaves_at=None,
                endpoints=(),
                certificate=b"",
                next_hop_seconds={},
                announced_at=now,
                expires_at=now + 1.0,  # `announce` moves it beyond the record it replaces
            )
        )

    async def servers(self, model: str) -> list[Announcement]:
        """Every live server of a model by its manifest hash: verified, unexpired, one per peer, us included.

        Raises SwarmError if p2pd is gone, InvalidRecordError if `model` isn't a manifest hash.
        """
        check_model(model)
        now = time.time()
        announcements = [decode(record.data) for record in await self._get(model_key(model))]
        live = [
            announcement
            for announcement in announcements
            if announcement.state is not ServerState.LEFT and announcement.expires_at > now
        ]
        return sorted(live, key=lambda announcement: (announcement.layers, announcement.peer_id))

    async def models(self) -> list[ModelListing]:
        """Every model that somebody serves layers of."""
        return summarize([decode_listing(record.data) for record in await self._get(LISTING_KEY)])

    async def add_stream_handler(
        self, protocol: str, handler: Callable[[PeerId, Stream], Awaitable[None]]
    ) -> None:
        """Let `handler` take every libp2p stream that a peer opens for `protocol`; it closes the stream."""

        async def on_stream(info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await handler(PeerId(info.peer_id.to_base58()), (reader, writer))

        await self._run(self._daemon.p2p.add_binary_stream_handler(protocol, on_stream))

    async def remove_stream_handler(self, protocol: str) -> None:
        """Take no more streams for `protocol`. Quiet if p2pd is gone."""
        if not self._open or not self._daemon.running:
            return
        try:
            await self._run(self._daemon.p2p.remove_binary_stream_handler(protocol))
        except Exception as error:  # noqa: BLE001 - p2pd ended meanwhile, and the handler with it
            _logger.debug("stream handler not removed: %r", error)

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        """Open a libp2p stream to a peer. Raises SwarmError if it can't be reached or doesn't take it."""
        return await self._run(self._daemon.open_stream(peer_id, protocol))

    async def wait_lost(self) -> None:
        """Return when p2pd has ended, and with it our membership: join anew."""
        await self._daemon.process.wait()

    async def _be_member(
        self, config: DaemonConfig, joined: asyncio.Future[None], leave: asyncio.Event
    ) -> None:
        try:
            async with run_daemon(self._identity, config) as daemon:
                self._daemon = daemon
                self._node = await SwarmNode.open(daemon.p2p, client_only=config.client_only)
                await self._meet_initial_peers(config.startup_timeout_seconds)
                if config.listen_maddrs:
                    self.addresses = joinable(map(str, await daemon.p2p.get_visible_maddrs()))
                self._open = True
                if not joined.done():
                    joined.set_result(None)
                await leave.wait()
                self._open = False
                await self._say_goodbye()
        finally:
            self._open = False
            await self._owner.close()

    async def _meet_initial_peers(self, timeout_seconds: float) -> None:
        if not self._initial_peers:
            return
        peers = [PeerID.from_base58(peer_id) for peer_id in self._initial_peers if peer_id != self.peer_id]
        try:
            async with asyncio.timeout(timeout_seconds):
                differences = sorted(await self._node.meet(peers))
                if not differences:
                    raise unreachable(tuple(self._initial_peers.values()))
                _check_clock(differences[len(differences) // 2])
                await self._node.find_nearest_nodes([self._node.node_id])
        except TimeoutError as error:
            raise unreachable(tuple(self._initial_peers.values())) from error

    async def _rejoin_if_needed(self) -> None:
        """After an outage nobody may know us any more: greet the initial peers that we don't know either."""
        now = time.monotonic()
        if now < self._tried_rejoining_at + _REJOIN_SECONDS:
            return
        self._tried_rejoining_at = now
        known = self._node.protocol.routing_table
        strangers = [
            (PeerID.from_base58(peer_id), address)
            for peer_id, address in self._initial_peers.items()
            if peer_id != self.peer_id and PeerID.from_base58(peer_id) not in known
        ]
        if strangers:
            greeting = self._run(self._greet(strangers))
            if not known.uid_to_peer_id:
                await greeting  # alone: without them there is nobody to announce to

    async def _greet(self, strangers: Sequence[tuple[PeerID, str]]) -> None:
        for peer, address in strangers:
            transport = Multiaddr(address.rpartition("/p2p/")[0])
            try:
                await asyncio.wait_for(self._daemon.p2p._client.connect(peer, [transport]), 5.0)
            except Exception as error:  # noqa: BLE001 - whatever it is, the peer is still out of reach
                _logger.debug("initial peer still away peer=%s reason=%s", peer, error)
        await self._node.meet([peer for peer, _ in strangers])

    async def _say_goodbye(self) -> None:
        """Take our request handlers back, so that peers hear an error instead of nothing."""
        if not self._daemon.running:
            return
        try:
            await asyncio.wait_for(self._node.shutdown(), _LEAVE_SECONDS)
        except Exception as error:  # noqa: BLE001 - p2pd may be gone already; we leave anyway
            _logger.debug("left without taking back handlers: %r", error)

    async def _put(self, key: bytes, data: bytes, expires_at: float) -> int:
        record = Record(peer_id=self.peer_id, data=data, expires_at=expires_at)
        return await self._run(self._node.put(key, record))

    async def _get(self, key: bytes) -> list[Record]:
        await self._rejoin_if_needed()
        return await self._run(self._node.get(key))

    def _run(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run `work` where hivemind's tasks find their owner."""
        try:
            self._check_running()
        except SwarmError:
            work.close()
            raise
        task = asyncio.get_running_loop().create_task(work, context=self._context)
        self._owner.adopt(task)
        return task

    def _check_running(self) -> None:
        if not self._open:
            raise SwarmError("this swarm has been left: join again")
        if not self._daemon.running:
            raise SwarmError("p2pd has ended, and with it the connection to the swarm: join again")

    def _later(self, key: bytes, expires_at: float) -> float:
        previous = self._newest_expiry.get(key)
        if previous is not None and expires_at <= previous:
            expires_at = previous + _EXPIRY_STEP_SECONDS
        self._newest_expiry[key] = expires_at
        return expires_at


def _check_clock(seconds_ahead: float) -> None:
    """Records live for a minute: with a clock far off, ours would be born dead, and others' seem to be."""
    if abs(seconds_ahead) > MAX_CLOCK_DIFFERENCE_SECONDS:
        direction = "behind" if seconds_ahead > 0 else "ahead of"
        raise SwarmError(
            f"this machine's clock is {abs(seconds_ahead):.0f} s {direction} the swarm's: set it, then retry"
        )


async def _finish(member: asyncio.Task[None]) -> None:
    """Wait until a member has left, also if we are cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not member.done():
        try:
            await asyncio.wait({member})
        except asyncio.CancelledError as error:
            cancelled = error
            member.cancel()
    if cancelled is not None:
        raise cancelled
    if not member.cancelled() and (failure := member.exception()) is not None:
        raise failure
