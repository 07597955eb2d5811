"""The relays where a member behind a router can be found: two of them, others as soon as one is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from p2pinfer.backoff import Backoff
from p2pinfer.errors import SwarmError
from p2pinfer.swarm.reach.member import Member
from p2pinfer.swarm.reach.relay.asking import Reservation, reserve
from p2pinfer.tasks import Nursery
from p2pinfer.types import PeerId, short_id

WANTED = 2
CONNECT_SECONDS = 5.0
AGAIN = Backoff(first_seconds=1.0, most_seconds=15.0)
"""Until the same relay is asked again. Healing takes at most 20 s, so this is the most."""
REFUSED_SECONDS = 60.0

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Failures:
    in_a_row: int
    not_before: float  # of the event loop's clock


class Places:
    """A member's reservations at relays. For the event loop."""

    def __init__(
        self,
        member: Member,
        changed: Callable[[], None],
        dialable: Callable[[PeerId, Sequence[str]], Awaitable[Sequence[str]]],
    ) -> None:
        """`changed` is called whenever a reservation is made or lost.

        `dialable` tells which of a relay's multiaddresses may be dialled: some are its own words.
        """
        self._member = member
        self._dialable = dialable
        self._changed = changed
        self._held: dict[PeerId, Reservation] = {}
        self._addresses: dict[PeerId, tuple[str, ...]] = {}
        self._tries: dict[PeerId, asyncio.Task[None]] = {}
        self._failures: dict[PeerId, _Failures] = {}

    @property
    def held(self) -> Mapping[PeerId, Reservation]:
        """The reservations, by relay."""
        return self._held

    def addresses_of(self, relay: PeerId) -> tuple[str, ...]:
        """Full multiaddresses of a relay that was asked."""
        return self._addresses.get(relay, ())

    async def keep(
        self, wanted: Callable[[], int], candidates: Callable[[], Mapping[PeerId, Sequence[str]]]
    ) -> None:
        """Hold as many reservations as are `wanted`, for ever.

        `candidates` are members that may be relays, the best first, and their full multiaddresses.
        """
        async with Nursery() as nursery:
            while True:
                for relay in list(self._tries)[wanted() :] if not wanted() else ():
                    self._tries.pop(relay).cancel()
                for relay, maddrs in self._next(wanted() - len(self._tries), candidates()):
                    self._addresses[relay] = tuple(maddrs)
                    self._tries[relay] = nursery.start(self._hold(relay))
                await asyncio.sleep(0.5)

    def _next(
        self, number: int, candidates: Mapping[PeerId, Sequence[str]]
    ) -> list[tuple[PeerId, Sequence[str]]]:
        now = asyncio.get_running_loop().time()
        ready = [
            (relay, maddrs)
            for relay, maddrs in candidates.items()
            if relay not in self._tries
            and ((failures := self._failures.get(relay)) is None or failures.not_before <= now)
        ]
        return ready[: max(0, number)]

    async def _hold(self, relay: PeerId) -> None:
        """Hold one reservation until it is lost."""
        reason = "it isn't connected"
        try:
            if maddrs := await self._dialable(relay, self._addresses[relay]):
                await self._member.connect(relay, maddrs, CONNECT_SECONDS)
            async with reserve(self._member, relay) as reservation:
                self._held[relay] = reservation
                self._failures.pop(relay, None)
                self._changed()
                reason = await reservation.lost()
            # The connection may be one through a router that has forgotten it: only a new one helps.
            await self._member.disconnect(relay)
        except SwarmError as error:
            reason = str(error)
        finally:
            if self._held.pop(relay, None) is not None:
                self._changed()
            self._tries.pop(relay, None)
        failures = self._failures.setdefault(relay, _Failures(0, 0.0))
        failures.in_a_row += 1
        failures.not_before = asyncio.get_running_loop().time() + AGAIN.longest_seconds(failures.in_a_row)
        _logger.debug("no place at relay %s: %s", short_id(relay), reason)
