"""Measures, again and again, how far it is to the servers that may follow this one in a route."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping

from p2pinfer.backoff import Chance, jittered
from p2pinfer.errors import SwarmError
from p2pinfer.server.neighbours.landmarks import landmarks
from p2pinfer.server.neighbours.notes import PINGED_AT_ONCE, Notes
from p2pinfer.server.neighbours.roster import Roster
from p2pinfer.server.neighbours.round_trips import round_trips
from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import PeerId
from p2pinfer.wire.dialling import Ways

logger = logging.getLogger(__name__)

SOON_SECONDS = 3.0
"""Before the first rounds of a server, which knows nobody yet."""
LOOK_SECONDS = 3.0
"""How often to look whether a tunnel has changed its way."""
QUICK_ROUNDS = 3
LANDMARKS = 2
"""So many servers are measured in each round at least, also if no route goes on to them from here: a server
that nobody follows has to know where it is as well. In the first rounds as many as are measured at once."""
ROUND_SECONDS = 30.0
READING_SECONDS_PER_SERVER = 0.3
"""Records may be older where there are more of them: reading hundreds takes megabytes. Who has gone meanwhile
doesn't answer, which costs nothing but a ping."""


class Neighbours:
    """One server's, while it serves its span. For the event loop."""

    def __init__(
        self,
        us: Announcement,
        roster: Roster,
        ways: Ways | None,
        position: Position,
        *,
        chance: Chance = random.random,
    ) -> None:
        """`us` is our own record: what we serve, and where. `position` learns what is measured."""
        self._notes = Notes(us, None if ways is None else ways.way_of_tunnel)
        self._roster = roster
        self._ways = ways
        self._position = position
        self._us = us.peer_id
        self._chance = chance
        self._records_seconds = ROUND_SECONDS
        self._rounds = 0

    def next_hop_seconds(self) -> Mapping[PeerId, float]:
        """The round trips to announce, in seconds: to the nearest servers, as measured lately."""
        return self._notes.nearest(_now())

    async def measure_forever(self) -> None:
        """Measure a few servers about every ROUND_SECONDS; sooner at first, and when a way has changed."""
        while True:
            is_first = self._rounds == 0
            is_urgent = self._rounds < QUICK_ROUNDS and (is_first or not self._notes.knows_enough(_now()))
            await self._wait(jittered(SOON_SECONDS if is_urgent else ROUND_SECONDS))
            try:
                await self.measure_some()
            except SwarmError as error:
                logger.debug("the swarm can't be asked who is there: %s", error)

    async def measure_some(self) -> None:
        """Measure those whose turn it is. Raises SwarmError if the swarm can't be read."""
        self._rounds += 1
        records = await self._roster.servers(self._records_seconds)
        self._records_seconds = max(ROUND_SECONDS, READING_SECONDS_PER_SERVER * len(records))
        self._notes.see(records, _now())
        asked = self._notes.whom_to_measure(_now(), self._chance)
        most = PINGED_AT_ONCE if self._rounds <= QUICK_ROUNDS else LANDMARKS
        marks = landmarks(
            records, {self._us, *(one.peer_id for one in asked)}, most - len(asked), self._chance
        )
        found = await round_trips([*asked, *marks], self._ways)
        for record in (*asked, *marks):
            trip = found[record.peer_id]
            if trip.seconds is not None:
                self._position.measured(record.peer_id, record.cell, trip.seconds, trip.way)
        for record in asked:
            trip = found[record.peer_id]
            self._notes.measured(record.peer_id, trip.seconds, _now(), way=trip.way, address=record.address)

    async def _wait(self, seconds: float) -> None:
        """Wait, but only until a server is reached in another way than when it was measured."""
        ends = _now() + seconds
        while (left := ends - _now()) > 0:
            await asyncio.sleep(min(LOOK_SECONDS, left))
            if self._notes.has_other_ways(_now()):
                return


def _now() -> float:
    return asyncio.get_running_loop().time()
