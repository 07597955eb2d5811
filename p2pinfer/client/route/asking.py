"""The pings of one search for a route: whom_to_ping.py says which servers, this asks them and waits.

A round of pings takes as long as a far server needs to answer. Then others are asked in the place of those
that were silent. So servers that never answer cost a search a few such rounds, and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from p2pinfer.backoff import Chance
from p2pinfer.client.route.experience import Experience, life_of
from p2pinfer.client.route.whom_to_ping import (
    EVERYBODY,
    MOST_PINGED,
    Prospect,
    whom_instead,
    whom_to_ping,
    worth_waiting_for,
)
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import PeerId, Span

_ROUND_SECONDS = 0.5
_ROUNDS = 3
_MOST_UNDER_WAY = 192
"""Pings of this client, most of which are silent then: each takes a socket until it is given up."""
_MORE_ANSWERS_SECONDS = 0.02
_LAST_RESORT_SECONDS = 10.0
"""So long the last servers are waited for, where no route is found. The next search asks others."""


class Asking:
    """Asks servers whether they are there. For the network's event loop."""

    def __init__(
        self,
        experience: Experience,
        records: Sequence[Announcement],
        prospects: Sequence[Prospect],
        *,
        num_layers: int,
        way_weight: float,
        held: Sequence[Span],
        fresh_seconds: float,
        chance: Chance,
    ) -> None:
        """`records` and `prospects` are of the servers that could have a place in the route.

        An answer is `fresh_seconds` old at most. `way_weight` is what a second on the way costs, as in
        `find_route`.
        """
        self._experience = experience
        self._records = records
        self._prospects = prospects
        self._num_layers = num_layers
        self._way_weight = way_weight
        self._held = held
        self._fresh_seconds = fresh_seconds
        self._chance = chance
        self._asked: set[int] = set()
        self._waiting: set[asyncio.Task[None]] = set()
        self._is_last_resort = False
        self._ends = _now() + _LAST_RESORT_SECONDS

    @property
    def is_waiting(self) -> bool:
        """True while an answer may come."""
        return bool(self._waiting)

    @property
    def asked(self) -> set[PeerId]:
        """Those that were asked."""
        return {self._records[place].peer_id for place in self._asked}

    async def ask(self) -> None:
        """Ask those who are trusted, and wait for their answers, but not for all: some are gone for good."""
        pinged = whom_to_ping(
            self._prospects,
            self._num_layers,
            self._chance,
            way_weight=self._way_weight,
            held=self._held,
            most=self._most_now(),
        )
        awaited = worth_waiting_for(self._prospects, pinged, self._num_layers, held=self._held)
        for _ in range(_ROUNDS):
            tasks = self._ping(pinged)
            if awaited:
                await asyncio.wait([tasks[place] for place in awaited], timeout=_ROUND_SECONDS)
            self._waiting = {task for task in self._waiting if not task.done()}
            pinged = awaited = self._instead()
            if not pinged:
                break

    async def news(self) -> bool:
        """Wait until something is known that wasn't; as a last resort ask those who are doubted as well.

        False: nobody is left who could answer, or it takes too long.
        """
        if _now() > self._ends:
            return False
        if not self._is_last_resort and len(self._records) <= EVERYBODY:
            self._asked.clear()  # each of a few gets a second chance
        self._is_last_resort = True
        self._ping(self._instead())
        if not self._waiting:
            if self._most_now():
                return False
            await asyncio.sleep(_ROUND_SECONDS)  # other searches have asked as many as may be asked at a time
            return True
        await self.answer(timeout_seconds=_ROUND_SECONDS)
        return True

    async def answer(self, timeout_seconds: float | None = None) -> None:
        """Wait until a ping has ended, and a moment for others: hundreds of searches would take seconds."""
        done, waiting = await asyncio.wait(
            self._waiting, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if done and waiting:
            _, waiting = await asyncio.wait(waiting, timeout=_MORE_ANSWERS_SECONDS)
        self._waiting = waiting

    def _instead(self) -> list[int]:
        """Those to ask now, besides those who were asked."""
        asked: list[bool | None] = [
            True
            if self._experience.answered(life_of(record), self._fresh_seconds)
            else False
            if place in self._asked
            else None
            for place, record in enumerate(self._records)
        ]
        return whom_instead(
            self._prospects,
            asked,
            self._num_layers,
            self._chance,
            last_resort=self._is_last_resort,
            held=self._held,
            most=self._most_now(),
        )

    def _most_now(self) -> int:
        return max(0, min(MOST_PINGED, _MOST_UNDER_WAY - self._experience.pings_under_way))

    def _ping(self, places: Sequence[int]) -> dict[int, asyncio.Task[None]]:
        tasks = {place: self._experience.ping(self._records[place]) for place in places}
        self._asked.update(places)
        self._waiting.update(task for task in tasks.values() if not task.done())
        return tasks


def _now() -> float:
    return asyncio.get_running_loop().time()
