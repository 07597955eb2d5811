"""Joins a swarm with what earlier processes knew of it, peers and our place, and keeps it for later ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeAlias

from p2pinfer.identity import Identity
from p2pinfer.swarm.addresses import by_peer, is_loopback
from p2pinfer.swarm.membership.kept_peers import KeptPeers
from p2pinfer.swarm.membership.known_peers import MOST_MADDRS, KnownPeer, can_be_kept
from p2pinfer.swarm.membership.membership import Remembered
from p2pinfer.swarm.reach.permission import Permission, host_of
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import ended, ending
from p2pinfer.threads import in_thread
from p2pinfer.types import PeerId

MayDial: TypeAlias = Callable[[PeerId, str], bool]
"""True if this host is the peer's to give."""

_FIRST_SECONDS = 10.0
_EVERY_SECONDS = 60.0
_FILE_SECONDS = 1.0
"""A file that takes longer, as on a share that is away, is done without."""


@asynccontextmanager
async def join_remembering(
    kept: KeptPeers,
    initial_peers: Sequence[str],
    identity: Identity,
    *,
    remembered: Remembered | None = None,
    listen_maddrs: Sequence[str] = ("/ip4/0.0.0.0/tcp/0",),
    announce_maddrs: Sequence[str] = (),
    client_only: bool = False,
    **options: Any,
) -> AsyncIterator[Swarm]:
    """Join as `Swarm.join` does; whom `kept` knows in this swarm is greeted beside the initial peers.

    Who begins a swarm, without initial peers, knows it by its own identity, if that is in a file: after a
    restart it greets those it knew, and waits for none of them. With an identity of this process only, it
    reads and keeps nobody. Raises what `Swarm.join` raises.
    """
    initial = frozenset(by_peer(initial_peers)) - {identity.peer_id}
    if not initial_peers and identity.path is not None:
        initial = frozenset((identity.peer_id,))
    is_local = all(map(is_loopback, initial_peers or listen_maddrs))
    permission = Permission(
        initial=initial_peers, listen=() if client_only else listen_maddrs, announce=announce_maddrs
    )

    def allowed(known: Mapping[PeerId, KnownPeer], may_dial: MayDial) -> dict[PeerId, KnownPeer]:
        """The other peers, where each may be dialled in this swarm; those who may be nowhere are left out."""
        found = {}
        for peer_id, peer in known.items():
            transports = dict.fromkeys(maddr.partition("/p2p/")[0] for maddr in peer.maddrs)
            maddrs = [
                maddr
                for maddr in transports
                if can_be_kept(maddr)
                and (is_local or not is_loopback(maddr))
                and may_dial(peer_id, host_of(maddr))
            ]
            if maddrs and peer_id != identity.peer_id:
                found[peer_id] = replace(peer, maddrs=tuple(maddrs[:MOST_MADDRS]))
        return found

    async def recall(former: Remembered) -> Remembered:
        known: dict[PeerId, KnownPeer] = {}
        whereabouts = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_FILE_SECONDS):
                known, whereabouts = await in_thread(
                    lambda: (kept.read(initial), kept.whereabouts(initial)), name="peers-remembered"
                )
        known = allowed(known, permission.may_dial)
        peers = {
            peer_id: tuple(f"{maddr}/p2p/{peer_id}" for maddr in peer.maddrs)
            for peer_id, peer in known.items()
        }
        seen = {peer_id: (peer.first_seen, peer.last_seen) for peer_id, peer in known.items()}
        return replace(
            former,
            peers={**peers, **former.peers},
            seen={**former.seen, **seen},
            whereabouts=former.whereabouts or whereabouts,
        )

    writing: set[asyncio.Future[None]] = set()

    async def keep(swarm: Swarm) -> None:
        stay = swarm.remembered
        met = {
            peer_id: KnownPeer(maddrs=stay.peers[peer_id], first_seen=first, last_seen=last)
            for peer_id, (first, last) in stay.seen.items()
        }
        peers = allowed(met, swarm.ways.may_dial)
        if not writing:  # else the file is away: one thread that waits for it is enough
            work = asyncio.ensure_future(
                in_thread(lambda: kept.add(initial, peers, stay.whereabouts), name="peers-remembered")
            )
            writing.add(work)
            work.add_done_callback(writing.discard)
            await asyncio.wait({work}, timeout=_FILE_SECONDS)

    async def keep_forever(swarm: Swarm) -> None:
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            await keep(swarm)
            await asyncio.sleep(_EVERY_SECONDS)

    async with Swarm.join(
        initial_peers,
        identity,
        remembered=await recall(remembered or Remembered()),
        listen_maddrs=listen_maddrs,
        announce_maddrs=announce_maddrs,
        client_only=client_only,
        **options,
    ) as swarm:
        try:
            async with ending(asyncio.create_task(keep_forever(swarm))):
                yield swarm
        finally:
            await ended(asyncio.ensure_future(keep(swarm)))
