"""Holes in routers: two members behind routers that dial each other at the same moment become connected.

The dialling side asks a relay of the other's. The relay tells each the address from which it sees the other,
and both dial at once: each router takes the other's packets for answers. Ford, Srisuresh and Kegel 2005
describe it; libp2p calls its own form DCUtR (Seemann et al. 2022). It works where a router shows a port of
ours under the same number to everybody. QUIC dials from the port where it listens, and tries again for
seconds, so nothing has to be timed exactly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from p2pinfer.errors import SwarmError
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.fairness.sources import source_of
from p2pinfer.swarm.addresses import ip_of
from p2pinfer.swarm.reach.member import Member
from p2pinfer.swarm.reach.relay.asking import introduce
from p2pinfer.tasks import Nursery, cancel_and_wait
from p2pinfer.types import PeerId, short_id

DIAL_SECONDS = 5.0
AGAIN_SECONDS = (10.0, 60.0, 300.0, 900.0)
"""After failures in a row. p2pd doesn't dial an address again for some seconds after it failed there."""
MOST_PLACES = 2
"""IP addresses, of one meeting: one of IPv4 and one of IPv6."""
MOST_MADDRS = 4
MOST_A_MINUTE = 12
"""Meetings in one network."""
MOST_IN_ALL = 240
"""The same, wherever that is."""
_MOST_NOTES = 1024

_logger = logging.getLogger(__name__)


class Meetings:
    """One member's. For the event loop."""

    def __init__(self, member: Member, may_dial: Callable[[PeerId, str], bool]) -> None:
        self._member = member
        self._may_dial = may_dial
        self._nursery = Nursery()
        self._under_way: dict[PeerId, asyncio.Task[bool]] = {}
        self._dialled = Rates(RateBound(in_all=MOST_IN_ALL, per_source=MOST_A_MINUTE, per_key=MOST_IN_ALL))
        self._failures: dict[PeerId, tuple[int, float]] = {}  # in a row, and when to try again

    async def close(self) -> None:
        """End all attempts."""
        await self._nursery.close()

    def begin(self, peer_id: PeerId, relays: Iterable[PeerId], met: Callable[[], None]) -> None:
        """Try to become connected with a peer that is found at these relays; call `met` when it is.

        Nothing happens if that is tried already, or has failed lately.
        """
        now = asyncio.get_running_loop().time()
        if peer_id in self._under_way or self._failures.get(peer_id, (0, 0.0))[1] > now:
            return
        task = self._nursery.start(self._meet(peer_id, list(relays)))
        self._under_way[peer_id] = task

        def end(done: asyncio.Task[bool]) -> None:
            self._under_way.pop(peer_id, None)
            if not done.cancelled() and done.exception() is None and done.result():
                self._failures.pop(peer_id, None)
                met()
            else:
                self._note_failure(peer_id)

        task.add_done_callback(end)

    async def on_introduction(self, peer_id: PeerId, maddrs: Sequence[str]) -> Sequence[str]:
        """Dial a peer that dials us now, as a relay says. The relay adds where it sees us."""
        self._nursery.start(self._dial(peer_id, maddrs))
        return ()

    async def _meet(self, peer_id: PeerId, relays: Sequence[PeerId]) -> bool:
        for relay in relays:
            try:
                maddrs = await introduce(self._member, relay, peer_id, ())
            except SwarmError as error:
                _logger.debug("not introduced to %s: %s", short_id(peer_id), error)
                continue
            if await self._dial(peer_id, maddrs):
                return True
        return False

    async def _dial(self, peer_id: PeerId, maddrs: Sequence[str]) -> bool:
        """True if the peer is connected then, also because it has dialled us."""
        usable = [
            maddr.partition("/p2p/")[0]
            for maddr in maddrs
            if "/quic-v1" in maddr and (ip := ip_of(maddr)) is not None and self._may_dial(peer_id, str(ip))
        ]
        usable = self._within_bounds(usable)
        if not usable:
            return False
        connecting = asyncio.create_task(self._member.connect(peer_id, usable, DIAL_SECONDS))
        try:
            while not connecting.done():
                await asyncio.wait({connecting}, timeout=0.25)
                with suppress(SwarmError):
                    if peer_id in await self._member.connections():
                        return True
            return connecting.exception() is None
        finally:
            await cancel_and_wait(connecting)

    def _within_bounds(self, maddrs: Sequence[str]) -> list[str]:
        """A relay may lie, and a hundred of its members would send packets to a third party together."""
        now = asyncio.get_running_loop().time()
        places = list(dict.fromkeys(map(ip_of, maddrs)))[:MOST_PLACES]
        allowed = [
            place for place in places if self._dialled.use(Guest(sources=(source_of(str(place)),)), now) == 0
        ]
        return [maddr for maddr in maddrs if ip_of(maddr) in allowed][:MOST_MADDRS]

    def _note_failure(self, peer_id: PeerId) -> None:
        number = self._failures.pop(peer_id, (0, 0.0))[0]
        pause = AGAIN_SECONDS[min(number, len(AGAIN_SECONDS) - 1)]
        self._failures[peer_id] = (number + 1, asyncio.get_running_loop().time() + pause)
        while len(self._failures) > _MOST_NOTES:
            del self._failures[next(iter(self._failures))]
