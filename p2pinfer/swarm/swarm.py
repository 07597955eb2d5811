"""The swarm as this process sees it: join, announce oneself, read who else is there, leave.

Everything runs in the caller's own event loop, with p2pd as one child process that is started again when it
ends (membership.py). Records stay in the swarm for their lifetime only, so a server announces itself again
and again (every 15-20 s, see server/).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.addresses import check_address, is_loopback, with_quic
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.membership.daemon import DaemonConfig, Stream
from p2pinfer.swarm.membership.membership import Membership, Remembered
from p2pinfer.swarm.membership.presence import StreamHandler
from p2pinfer.swarm.records.announcement import Announcement, ServerState, decode, encode, model_key
from p2pinfer.swarm.records.bounds import check_model
from p2pinfer.swarm.records.listing import (
    LISTING_KEY,
    ListingEntry,
    ModelListing,
    decode_listing,
    encode_listing,
    summarize,
)
from p2pinfer.tasks import undisturbed
from p2pinfer.types import PeerId

_EXPIRY_STEP_SECONDS = 0.001  # what makes a record newer than the one it replaces


class Swarm:
    """Membership in one swarm. Made by `Swarm.join`; its methods are for the loop that joined.

    When p2pd ends, or the network goes away, it heals itself. Meanwhile methods raise SwarmError, at once.
    """

    def __init__(self, identity: Identity, membership: Membership) -> None:
        self._identity = identity
        self._membership = membership
        self._newest_expiry: dict[bytes, float] = {}

    @property
    def peer_id(self) -> PeerId:
        """Who we are in this swarm."""
        return self._identity.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """Full multiaddresses, with /p2p/ID, that others join with. Empty if we don't listen."""
        return self._membership.addresses

    @property
    def private_folder(self) -> Path:
        """A folder for sockets that only this user may enter; it vanishes when the swarm is left."""
        return self._membership.private_folder

    @property
    def remembered(self) -> Remembered:
        """What the next stay in this swarm begins with."""
        return self._membership.remembered

    @property
    def daemon_pid(self) -> int | None:
        """The process of p2pd, to see what it uses; None between its end and its next start."""
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
        startup_timeout_seconds: float = 20.0,
    ) -> AsyncIterator[Swarm]:
        """Join the swarm at `initial_peers`, or begin a new one if there are none.

        `listen_maddrs` may be empty: then nobody can dial us, only answer. `client_only` reads but keeps
        nothing for others, and doesn't listen. `remembered` is what a former stay in this swarm ended with:
        whoever is still there is found, and we are found where we were. Raises UsageError for a malformed
        address or an identity in use, SwarmUnreachableError if nobody answers, SwarmError if the node can't
        be started.
        """
        for address in (*listen_maddrs, *announce_maddrs):
            check_address(address)
        listen = () if client_only else tuple(with_quic(listen_maddrs))
        public = not client_only and not (listen and all(map(is_loopback, listen)))
        config = DaemonConfig(
            initial_peers=tuple(initial_peers),
            bootstrap=True,
            listen_maddrs=listen,
            announce_maddrs=tuple(announce_maddrs),
            client_only=client_only,
            use_relays=public,
            startup_timeout_seconds=startup_timeout_seconds,
        )
        membership = Membership(identity, config, remembered)
        with identity.in_use():
            leave = asyncio.Event()
            joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            # In a context of its own: hivemind's tasks inherit it, the caller's don't.
            member = asyncio.get_running_loop().create_task(
                membership.run(joined, leave), context=copy_context()
            )
            try:
                await asyncio.wait({member, joined}, return_when=asyncio.FIRST_COMPLETED)
                if joined.done():
                    yield cls(identity, membership)
            finally:
                leave.set()
                await undisturbed(member)

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
        await self._membership.find_company()
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

        Raises SwarmError while we are away or, for a client, nobody answers; InvalidRecordError if `model`
        isn't a manifest hash.
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

    async def add_stream_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Let `handler` take every libp2p stream that a peer opens for `protocol`; it closes the stream.

        It stays in place when p2pd is started again; streams that were open then are broken.
        """
        await self._membership.add_stream_handler(protocol, handler)

    async def remove_stream_handler(self, protocol: str) -> None:
        """Take no more streams for `protocol`. Quiet if p2pd is gone."""
        await self._membership.remove_stream_handler(protocol)

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        """Open a libp2p stream to a peer. Raises SwarmError if it can't be reached or doesn't take it."""
        presence = self._membership.presence()
        return await presence.run(presence.daemon.open_stream(peer_id, protocol))

    async def wait_rejoined(self) -> None:
        """Return after the next time that we are back after p2pd ended or nobody answered: announce anew."""
        await self._membership.wait_rejoined()

    async def _put(self, key: bytes, data: bytes, expires_at: float) -> int:
        record = Record(peer_id=self.peer_id, data=data, expires_at=expires_at)
        presence = self._membership.presence()
        return await presence.run(presence.node.put(key, record))

    async def _get(self, key: bytes) -> list[Record]:
        await self._membership.find_company()
        presence = self._membership.presence()
        records = await presence.run(presence.node.get(key))
        if presence.cut_off:  # no answer isn't the answer that there is nothing
            raise SwarmError("nobody of the swarm answers: is the network down?")
        return records

    def _later(self, key: bytes, expires_at: float) -> float:
        previous = self._newest_expiry.get(key)
        if previous is not None and expires_at <= previous:
            expires_at = previous + _EXPIRY_STEP_SECONDS
        self._newest_expiry[key] = expires_at
        return expires_at
