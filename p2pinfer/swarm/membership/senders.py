"""From which networks the members come that store records here, as p2pd sees their connections.

One listing tells all. It is a few seconds old at most, there is one at a time, and no record waits long for
it. Whoever connects anew for each record can't make a node list its connections all the time: between two
listings it rests for twenty times what the last one took, but not until the last one is stale.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from p2pinfer.errors import SwarmError
from p2pinfer.fairness.sources import Source, source_of
from p2pinfer.swarm.addresses import ip_of
from p2pinfer.swarm.kademlia.hardening import spawn
from p2pinfer.types import PeerId

PATIENCE_SECONDS = 0.05
"""That a record waits for a listing. Then its sender's network isn't known until it is stored again."""
FRESH_SECONDS = 5.0
_RESTS_PER_LISTING = 20.0  # of the same length: 5 % of the time at most


class Senders:
    """For one p2pd and one event loop. The last listing ends with the current owner's other tasks."""

    def __init__(self, connections: Callable[[], Awaitable[Iterable[tuple[PeerId, str]]]]) -> None:
        """`connections` gives the peer and the multiaddress of each. It may raise SwarmError."""
        self._connections = connections
        self._networks: dict[PeerId, Source | None] = {}
        self._listing: asyncio.Task[None] | None = None
        self._listed_at = self._rests_until = float("-inf")

    async def source_of(self, peer_id: PeerId) -> Source | None:
        """The network of a connected peer. None: it isn't known yet, or the peer is on this machine."""
        is_fresh = _now() - self._listed_at < FRESH_SECONDS
        if not (is_fresh and peer_id in self._networks):
            if self._listing is None or self._listing.done():
                self._listing = spawn(self._list())
            await asyncio.wait({self._listing}, timeout=PATIENCE_SECONDS)
        return self._networks.get(peer_id)

    async def _list(self) -> None:
        await asyncio.sleep(self._rests_until - _now())
        began_at = _now()
        addresses: dict[PeerId, list[str]] = {}
        with suppress(SwarmError):  # then the last listing stands: a p2pd that has ended is started again
            for peer_id, address in await self._connections():
                addresses.setdefault(peer_id, []).append(address)
            self._networks = {peer_id: network_at(seen) for peer_id, seen in addresses.items()}
            self._listed_at = began_at
        took_seconds = _now() - began_at
        self._rests_until = _now() + min(_RESTS_PER_LISTING * took_seconds, FRESH_SECONDS)


def network_at(addresses: Iterable[str]) -> Source | None:
    """The network of a peer that is connected at these multiaddresses.

    None for a peer on this machine, where a hundred members may be one owner's, and for one behind a relay,
    whose address says nothing. A private network counts like any other: machines in it take as many addresses
    as they like. That strangles no laboratory, since a share only bites where others wait for the place.

    >>> network_at(["/ip4/203.0.113.7/tcp/9"])
    '203.0.113.0/24'
    >>> network_at(["/ip4/127.0.0.1/tcp/9"])
    """
    networks = []
    for address in addresses:
        host = None if "/p2p-circuit" in address else ip_of(address)
        if isinstance(host, ipaddress.IPv6Address):
            host = host.ipv4_mapped or host
        if host is None:
            continue
        if host.is_loopback:
            return None
        networks.append(source_of(str(host)))
    return min(networks, default=None)


def _now() -> float:
    return asyncio.get_running_loop().time()
