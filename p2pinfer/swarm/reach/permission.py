"""What this member may dial: its surroundings, which change when the machine moves, and who is connected."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from p2pinfer.swarm.addresses import ip_of
from p2pinfer.swarm.reach.dialable import IPAddress, Surroundings, may_dial, surroundings
from p2pinfer.swarm.reach.interfaces import Interface, interfaces, networks
from p2pinfer.tasks import all_of
from p2pinfer.threads import in_thread
from p2pinfer.types import PeerId

MOST_NAMES = 2
"""So many multiaddresses of one peer may have names: the resolver is shared by all."""
MOST_LOOKUPS = 16
"""At the same time, of names that strangers write: a resolver that never answers must not pile up threads."""
MOST_ADDRESSES = 4
"""Of one such name."""
_LOOK_SECONDS = 30.0
"""So old may be what is known of this machine's network cards. A look takes 0.2 ms."""
_RESOLVE_SECONDS = 2.0
_VERSIONS = {"dns": (4, 6), "dns4": (4,), "dns6": (6,)}
_lookups = threading.BoundedSemaphore(MOST_LOOKUPS)


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

    def may_dial_back(self, host: str) -> bool:
        """True if a peer that is connected from this IP address may be dialled there."""
        return may_dial(host, self._surroundings(), (host,))

    async def dialable(self, peer_id: PeerId, maddrs: Collection[str]) -> list[str]:
        """Where to dial a peer that gives these multiaddresses, without names and without its peer id.

        What isn't the peer's to give is left out, and all but `MOST_NAMES` names.
        """
        transports = dict.fromkeys(maddr.partition("/p2p/")[0] for maddr in maddrs)
        names = [transport for transport in transports if ip_of(transport) is None]
        found = await all_of(*(_without_name(one) for one in transports if one not in names[MOST_NAMES:]))
        return [one for ones in found for one in ones if self.may_dial(peer_id, str(ip_of(one)))]

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
    with suppress(TimeoutError):
        async with asyncio.timeout(_RESOLVE_SECONDS):
            return await in_thread(lambda: _look_up(host), name="resolve") or (host,)
    return (host,)


async def _without_name(maddr: str) -> Sequence[str]:
    """The multiaddress with each IP address that its name stands for now; itself if it has no name.

    p2pd would look a name up itself, and again for each dial: it may lead to another place every time.
    Nothing if the name isn't known, isn't found in time, or too many are looked up.
    """
    if ip_of(maddr) is not None:
        return (maddr,)
    words = maddr.split("/")
    if len(words) < 5 or words[1] not in _VERSIONS or not _lookups.acquire(blocking=False):
        return ()
    versions = _VERSIONS[words[1]]
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await in_thread(lambda: _looked_up(words[2]), name="resolve")
    except TimeoutError:
        return ()
    rest = "/".join(words[3:])
    return [f"/ip{ip.version}/{ip}/{rest}" for ip in found if ip.version in versions]


def _looked_up(host: str) -> Sequence[IPAddress]:
    try:
        found = _look_up(host)
    finally:
        _lookups.release()
    texts = dict.fromkeys(text.partition("%")[0] for text in found)
    return tuple(map(ipaddress.ip_address, texts))[:MOST_ADDRESSES]


def _look_up(host: str) -> Sequence[str]:
    """The IP addresses that the system's resolver finds; none if it doesn't know the name. It blocks."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a label that is too long
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))
