"""What this member may dial: its surroundings, which change when the machine moves, and who is connected."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from p2pinfer.swarm.reach.dialable import Surroundings, may_dial, surroundings
from p2pinfer.swarm.reach.interfaces import Interface, interfaces, networks
from p2pinfer.tasks import all_of
from p2pinfer.threads import in_thread
from p2pinfer.types import PeerId

_LOOK_SECONDS = 30.0
"""So old may be what is known of this machine's network cards. A look takes 0.2 ms."""
_RESOLVE_SECONDS = 2.0


class Permission:
    """One member's. For the event loop."""

    def __init__(
        self,
        *,
        initial: Sequence[str],
        listen: Sequence[str],
        announce: Sequence[str],
        look: Callable[[], Sequence[Interface]] = interfaces,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """All three are multiaddresses: of initial peers, of libp2p's listeners, and what others are told."""
        self._initial = tuple(map(host_of, initial))
        self._listen = tuple(map(host_of, listen))
        self._announced = tuple(map(host_of, announce))
        self._look = look
        self._now = now
        self._here: Surroundings | None = None
        self._looked_at = 0.0
        self._seen: dict[PeerId, frozenset[str]] = {}

    async def resolve(self) -> None:
        """Find out which addresses the names of initial peers stand for. Names that nobody knows stay."""
        found = await all_of(*(_addresses_of(host) for host in dict.fromkeys(self._initial)))
        self._initial = tuple(dict.fromkeys(ip for ips in found for ip in ips))
        self._here = None

    def saw(self, connected: Mapping[PeerId, Collection[str]]) -> None:
        """Take the multiaddresses from which peers are connected with us now, authenticated by libp2p."""
        self._seen = {
            peer_id: frozenset(host_of(maddr) for maddr in maddrs if "/p2p-circuit" not in maddr)
            for peer_id, maddrs in connected.items()
        }

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        """True if this host, an IP address without brackets, is the peer's to give."""
        return may_dial(host, self._surroundings(), self._seen.get(peer_id, ()))

    def _surroundings(self) -> Surroundings:
        now = self._now()
        if self._here is None or now - self._looked_at > _LOOK_SECONDS:
            own, bridges = networks(self._look())
            self._looked_at = now
            self._here = surroundings(
                initial_hosts=self._initial,
                listen_hosts=self._listen,
                announced_hosts=self._announced,
                own=own,
                bridges=bridges,
            )
        return self._here


def host_of(maddr: str) -> str:
    """The host in a multiaddress, a name or an IP address.

    >>> host_of("/ip4/192.0.2.7/tcp/7/p2p/Qm")
    '192.0.2.7'
    """
    words = maddr.split("/")
    return words[2] if len(words) > 2 else ""


async def _addresses_of(host: str) -> Sequence[str]:
    """What a name stands for; the host itself if that can't be found out."""

    def look_up() -> Sequence[str]:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return ()
        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))

    with suppress(TimeoutError):
        async with asyncio.timeout(_RESOLVE_SECONDS):
            return await in_thread(look_up, name="resolve") or (host,)
    return (host,)
