"""How this member is reached by others: found out soon after it joins, and again and again.

A member that others can dial says where, and is a relay if its owner allows that. One that can't be dialled
keeps places at relays, and is met there (meetings.py).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol
from zlib import crc32

from p2pinfer.backoff import jittered
from p2pinfer.errors import ProtocolError, SwarmError
from p2pinfer.swarm.addresses import ip_of, is_loopback, with_quic_beside
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.dialable import ip_in
from p2pinfer.swarm.reach.look import SECONDS_BETWEEN_LOOKS, Sight, look
from p2pinfer.swarm.reach.member import Member
from p2pinfer.swarm.reach.permission import Permission, host_of
from p2pinfer.swarm.reach.places import WANTED, Places
from p2pinfer.swarm.reach.verdict import Verdict, conclude, is_public, ports_to_try
from p2pinfer.swarm.records.bounds import check_maddr
from p2pinfer.tasks import all_of, first_of
from p2pinfer.types import PeerId

LOOKERS = 3
FIRST_LOOK_SECONDS = 2.5
LOOK_SECONDS = 5.0
EARLY_LOOKS = (2.0, 3.0, 3.0, 5.0, 10.0)
"""Pauses before the first looks: a router may take some seconds to open a port."""
LOOK_AGAIN_SECONDS = 60.0
LOOKED_AGAIN_SECONDS = SECONDS_BETWEEN_LOOKS + 0.1
"""By the same members at the earliest."""
_MOST_OWN_MADDRS = 4

_logger = logging.getLogger(__name__)


class Node(Protocol):
    """What a look needs of libp2p; `Member` has it, and p2pd itself, before this member has joined."""

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream: ...


class Reaching:
    """One member's. For the event loop."""

    def __init__(
        self,
        member: Member,
        permission: Permission,
        initial: Mapping[PeerId, Sequence[str]],
        *,
        announced: Sequence[str],
        is_known: bool,
    ) -> None:
        """`initial` are the peers to join through and their addresses, `announced` are ours by the user.

        `is_known`: that others can dial us needs no look: the user says so, or all of the swarm is on this
        machine, or this member begins the swarm.
        """
        self._member = member
        self._permission = permission
        self._initial = initial
        self._announced = announced
        self._is_known = is_known
        self.verdict = Verdict(is_dialable=is_known, maddrs=tuple(announced))
        self.places = Places(member, self._tell, self._dialable)
        self._own_of: dict[PeerId, tuple[str, ...]] = {}
        self._offered: dict[int, None] = {}
        self._look_soon = asyncio.Event()
        self._looked_at = float("-inf")  # on the event loop's clock
        self._changed = asyncio.Event()

    def offer(self, port: int) -> None:
        """Have others try this TCP port as well: see `Verdict.endpoints`."""
        if port not in self._offered:
            self._offered[port] = None
            self._look_soon.set()

    @property
    def maddrs(self) -> tuple[str, ...]:
        """Full multiaddresses where others can dial this member."""
        return tuple(filter(_is_right, self.verdict.maddrs))

    @property
    def relays(self) -> tuple[str, ...]:
        """Full multiaddresses of the relays where this member is found."""
        found: list[str] = []
        for relay in self.places.held:
            found.extend(self._best_maddrs(relay))
        return tuple(found)

    async def wait_changed(self) -> None:
        """Wait until something of this is different."""
        await self._changed.wait()

    async def first_verdict(self, node: Node, connected: Sequence[PeerId], visible: Sequence[str]) -> bool:
        """Find out whether others can dial p2pd, before this member takes part. If nobody says so, guess."""
        if self._is_known:
            self.verdict = self._of_ourselves(visible, self.verdict)
            return True
        lookers = [peer_id for peer_id in connected if peer_id in self._initial][:LOOKERS]
        sights = await self._sights(node, lookers, visible, FIRST_LOOK_SECONDS)
        verdict = conclude(self._member.peer_id, sights, visible, _is_ours)
        if verdict is None:
            ips = [ip for maddr in visible if (ip := ip_of(maddr)) is not None]
            joined_outside = any(
                (ip := ip_of(maddr)) is None or is_public(ip)
                for maddrs in self._initial.values()
                for maddr in maddrs
            )
            verdict = Verdict(is_dialable=not joined_outside or any(map(is_public, ips)))
        self.verdict = verdict
        return verdict.is_dialable

    async def run(self) -> None:
        """Keep all of it up to date, for ever."""
        await first_of(
            self._look_forever(),
            self._look_after_rejoining(),
            self.places.keep(lambda: 0 if self.verdict.is_dialable_by_all else WANTED, self._candidates),
        )

    async def _look_forever(self) -> None:
        pauses = list(EARLY_LOOKS)
        while True:
            pause = pauses.pop(0) if pauses else jittered(LOOK_AGAIN_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):  # `wait_for` may lose a cancellation (gh-86296)
                    await self._look_soon.wait()
            # Those who have just looked wouldn't look again.
            earliest = self._looked_at + LOOKED_AGAIN_SECONDS
            await asyncio.sleep(earliest - asyncio.get_running_loop().time())
            self._look_soon.clear()
            with suppress(SwarmError):
                await self._look()

    async def _look_after_rejoining(self) -> None:
        while True:
            await self._member.wait_rejoined()
            self._look_soon.set()

    async def _look(self) -> None:
        visible = await self._member.visible_maddrs()
        connected = await self._member.connections()
        lookers = [peer_id for peer_id in self._acquaintances() if peer_id in connected][:LOOKERS]
        sights = await self._sights(self._member, lookers, visible, LOOK_SECONDS)
        # Strangers may outnumber those through whom the user has joined: they count where these say nothing.
        trusted = [sight for sight in sights if sight.looker in self._initial and _is_from_outside(sight)]
        verdict = conclude(self._member.peer_id, trusted or sights, visible, _is_ours)
        if self._is_known:
            verdict = self._of_ourselves(visible, verdict or self.verdict)
        if verdict is not None and verdict != self.verdict:
            _logger.debug("others see us so: %s", verdict)
            self.verdict = verdict
            self._tell()

    def _of_ourselves(self, visible: Sequence[str], seen: Verdict) -> Verdict:
        """What needs no look, and the ports of `seen`: at the addresses that the user names, or at our own.

        Those of the loopback only if there are no others.
        """
        remote = [maddr for maddr in visible if not is_loopback(maddr)]
        public = [maddr for maddr in remote if (ip := ip_of(maddr)) is not None and is_public(ip)]
        own = tuple(public or remote or visible)[:_MOST_OWN_MADDRS]
        return replace(seen, is_dialable=True, maddrs=tuple(self._announced) or own)

    async def _sights(
        self, node: Node, lookers: Sequence[PeerId], visible: Sequence[str], seconds: float
    ) -> list[Sight]:
        ports = ports_to_try(visible, self._offered)

        async def ask(looker: PeerId) -> Sight | None:
            try:
                return await look(node, looker, ports, seconds)
            except SwarmError as error:
                _logger.debug("no look: %s", error)
                return None

        sights = [sight for sight in await all_of(*map(ask, lookers)) if sight is not None]
        self._looked_at = asyncio.get_running_loop().time()
        for sight in sights:
            self._own_of[sight.looker] = sight.own
        known = self._acquaintances()
        self._own_of = {peer: own for peer, own in self._own_of.items() if peer in known}
        return sights

    def _acquaintances(self) -> dict[PeerId, tuple[str, ...]]:
        """Members that may look at us, or be relays, and their addresses: those to join through first."""
        known = self._member.acquaintances()
        others = [peer_id for peer_id in known if peer_id not in self._initial]
        # Each member has an order of its own, so that relays share them all.
        others.sort(key=lambda peer_id: crc32(f"{self._member.peer_id} {peer_id}".encode()))
        return {
            peer_id: tuple(known.get(peer_id, ()))
            for peer_id in [*self._initial, *others]
            if peer_id != self._member.peer_id
        }

    def _candidates(self) -> dict[PeerId, tuple[str, ...]]:
        """Where to ask for a place."""
        found = {}
        for peer_id, maddrs in self._acquaintances().items():
            full = [
                maddr if "/p2p/" in maddr else f"{maddr}/p2p/{peer_id}"
                for maddr in (*self._own_of.get(peer_id, ()), *maddrs)
            ]
            found[peer_id] = tuple(with_quic_beside(list(dict.fromkeys(full))))
        return found

    async def _dialable(self, relay: PeerId, maddrs: Sequence[str]) -> Sequence[str]:
        """Where a relay may be dialled: where the user says, and where is the relay's to give."""
        given = {host_of(maddr) for maddr in self._initial.get(relay, ())}
        trusted = [maddr for maddr in maddrs if host_of(maddr) in given]
        others = [maddr for maddr in maddrs if host_of(maddr) not in given]
        return [*trusted, *await self._permission.dialable(relay, others)]

    def _best_maddrs(self, relay: PeerId) -> list[str]:
        """Where others dial a relay: at its own words, or where we do; one of QUIC and one of TCP."""
        known = list(self._own_of.get(relay, ())) or list(self._candidates().get(relay, ()))
        public = [maddr for maddr in known if (ip := ip_of(maddr)) is None or is_public(ip)]
        usable = [maddr for maddr in public or known if _is_right(maddr)]
        quic = [maddr for maddr in usable if "/quic-v1/" in maddr]
        return [*quic[:1], *[maddr for maddr in usable if "/tcp/" in maddr][:1]]

    def _tell(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()


def _is_right(maddr: str) -> bool:
    """True if a record can name it."""
    with suppress(ProtocolError):
        check_maddr("maddr", maddr)
        return True
    return False


def _is_from_outside(sight: Sight) -> bool:
    """True if it was tried, across the internet, whether we can be dialled."""
    return bool(sight.tried) and any(
        (ip := ip_in(host)) is not None and is_public(ip) for host in sight.hosts
    )


def _is_ours(host: str) -> bool:
    """True if an IP address is one of this machine."""
    with suppress(OSError):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
            return True
    return False
