"""The relays where a member behind a router can be found: two of them, others as soon as one is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from p2pinfer.backoff import Backoff
from p2pinfer.errors import RelayRefusedError, SwarmError
from p2pinfer.swarm.reach.member import Member
from p2pinfer.swarm.reach.relay.asking import Reservation, reserve
from p2pinfer.tasks import Nursery
from p2pinfer.types import PeerId, short_id

WANTED = 2
LOOK_SECONDS = 0.5
CONNECT_SECONDS = 5.0
AGAIN = Backoff(first_seconds=1.0, most_seconds=15.0)
"""Until the same relay is asked again. Healing takes at most 20 s, so this is the most."""
REFUSED_SECONDS = 60.0
"""Until a relay is asked again that has refused, if it doesn't say when."""
STEADY_SECONDS = 20.0
"""A place that is lost earlier counts as a failure: a relay may take everybody, and end it each time."""

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
        self._tries: dict[PeerId, asyncio.Task[None]] = {}
        self._failures: dict[PeerId, _Failures] = {}

    @property
    def held(self) -> Mapping[PeerId, Reservation]:
        """The reservations, by relay."""
        return self._held

    async def keep(
        self, wanted: Callable[[], int], candidates: Callable[[], Mapping[PeerId, Sequence[str]]]
    ) -> None:
        """Hold as many reservations as are `wanted`, for ever.

        `candidates` are members that may be relays, the best first, and their full multiaddresses.
        """
        async with Nursery() as nursery:
            while True:
                number, relays = wanted(), candidates()
                for try_ in list(self._tries.values())[number:]:
                    if not try_.cancelling():
                        try_.cancel()
                for relay in self._failures.keys() - relays.keys():
                    del self._failures[relay]  # of members that nobody knows any more
                for relay in self._next(number - len(self._tries), relays):
                    self._tries[relay] = nursery.start(self._hold(relay, relays[relay]))
                    self._tries[relay].add_done_callback(partial(self._forget, relay))
                await asyncio.sleep(LOOK_SECONDS)

    def _forget(self, relay: PeerId, _: asyncio.Task[None]) -> None:
        del self._tries[relay]

    def _next(self, number: int, candidates: Collection[PeerId]) -> list[PeerId]:
        now = asyncio.get_running_loop().time()
        ready = [
            relay
            for relay in candidates
            if relay not in self._tries
            and ((failures := self._failures.get(relay)) is None or failures.not_before <= now)
        ]
        return ready[: max(0, number)]

    async def _hold(self, relay: PeerId, maddrs: Sequence[str]) -> None:
        """Hold one reservation until it is lost."""
        clock = asyncio.get_running_loop().time
        began, refused_seconds = clock(), 0.0
        try:
            if maddrs := await self._dialable(relay, maddrs):
                await self._member.connect(relay, maddrs, CONNECT_SECONDS)
            async with reserve(self._member, relay) as reservation:
                began = clock()
                self._held[relay] = reservation
                self._changed()
                try:
                    reason = await reservation.lost()
                finally:
                    del self._held[relay]
                    self._changed()
            # The connection may be one through a router that has forgotten it: only a new one helps.
            await self._member.disconnect(relay)
        except RelayRefusedError as error:
            reason, refused_seconds = str(error), error.come_back_seconds or REFUSED_SECONDS
        except SwarmError as error:
            reason = str(error)
        failures = self._failures.setdefault(relay, _Failures(0, 0.0))
        failures.in_a_row = 1 if clock() - began > STEADY_SECONDS else failures.in_a_row + 1
        pause = max(refused_seconds, AGAIN.longest_seconds(failures.in_a_row))
        failures.not_before = clock() + pause
        _logger.debug("no place at relay %s for %.1f s: %s", short_id(relay), pause, reason)
