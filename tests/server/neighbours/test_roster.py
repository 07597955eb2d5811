"""One reading of the swarm for all who ask, and none where older records do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.server.neighbours.roster import Roster
from p2pinfer.swarm.records.announcement import Announcement
from tests.swarm.conftest import MODEL


class Swarm:
    """Counts how often it is read."""

    def __init__(self) -> None:
        self.readings = 0
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def servers(self, model: str) -> list[Announcement]:
        assert model == MODEL
        self.readings += 1
        await self.answers.wait()
        if self.away:
            raise SwarmError("no peer answers")
        return []


def read(swarm: Any) -> Roster:
    return Roster(swarm, MODEL)


async def test_records_that_are_fresh_enough_are_not_read_again():
    swarm = Swarm()
    roster = read(swarm)
    for seconds in (0.0, 60.0, 60.0):
        await roster.servers(seconds)
    assert swarm.readings == 1
    await roster.servers(0.0)
    assert swarm.readings == 2


async def test_those_who_ask_at_the_same_time_wait_for_one_reading():
    swarm = Swarm()
    swarm.answers.clear()
    roster = read(swarm)
    asking = [asyncio.create_task(roster.servers(1.0)) for _ in range(3)]
    await asyncio.sleep(0)
    swarm.answers.set()
    await asyncio.gather(*asking)
    assert swarm.readings == 1


async def test_a_reading_that_fails_or_is_given_up_leaves_the_next_one_free():
    swarm = Swarm()
    roster = read(swarm)
    swarm.away = True
    with pytest.raises(SwarmError):
        await roster.servers(60.0)
    swarm.away = False
    swarm.answers.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(roster.servers(60.0), 0.01)
    swarm.answers.set()
    assert await roster.servers(60.0) == []
    assert swarm.readings == 3
