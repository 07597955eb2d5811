"""The network as gossip sees it: through whatever p2pd this member has at the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

from hivemind.p2p import PeerID

from p2pinfer.identity import peer_id_to_bytes
from p2pinfer.swarm.gossip_pb2 import GossipAnswer, GossipRequest
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.membership.membership import Membership
from p2pinfer.swarm.membership.presence import Presence
from p2pinfer.swarm.reach.permission import Permission
from p2pinfer.types import PeerId

CONNECT_SECONDS = 3.0


class GossipNetwork:
    """Of one member. Its methods raise SwarmError while p2pd is away."""

    def __init__(self, membership: Membership, permission: Permission) -> None:
        self._membership, self._permission = membership, permission

    def elders(self) -> Sequence[PeerId]:
        """Our anchors, but for the initial peers where others are known: all members have these in common."""
        return [PeerId(peer.to_base58()) for peer in self._membership.presence().node.anchors(False)]

    async def exchange(
        self, peer: PeerId, maddrs: Sequence[str], request: GossipRequest
    ) -> GossipAnswer | None:
        """Ask a member, which may be dialled at `maddrs`. None if it doesn't answer."""
        presence = self._membership.presence()
        return await presence.run(self._exchange(presence, peer, maddrs, request))

    async def verified(
        self, sender: PeerId, key: bytes, values: Iterable[bytes], *, asked: bool
    ) -> list[Record]:
        """Of what `sender` shows, the records that may be believed under `key`."""
        protocol = self._membership.presence().node.protocol
        return await protocol.verified(_id(sender), key, values, asked=asked)

    async def _exchange(
        self, presence: Presence, peer: PeerId, maddrs: Sequence[str], request: GossipRequest
    ) -> GossipAnswer | None:
        if peer not in await presence.connected() and not await self._connected(presence, peer, maddrs):
            return None
        return await presence.node.protocol.call_gossip(_id(peer), request)

    async def _connected(self, presence: Presence, peer: PeerId, maddrs: Sequence[str]) -> bool:
        """Greet a peer where it was met, or where its record says; not where no port is open.

        p2pd itself would try, and after that not again for a while, whoever asks it to. A connection alone
        isn't enough: a peer that was started again knows nobody, and by its connection nobody would notice.
        """
        met = self._membership.acquaintances().get(peer, ())
        found = await self._permission.dialable(peer, [*dict.fromkeys([*met, *maddrs])])
        if not found:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                return bool(await presence.greet({peer: found}, frozenset()))
        return False


def _id(peer: PeerId) -> PeerID:
    return PeerID(peer_id_to_bytes(peer))
