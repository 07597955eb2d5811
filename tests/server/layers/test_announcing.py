"""A server's heartbeats, and what it notices meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.server.layers.announcing import Heartbeats
from p2pinfer.swarm.records.announcement import Announcement
from tests.server.wire_client import until
from tests.swarm.conftest import describe

US = Identity.ephemeral()


class Swarm:
    """Takes records, and answers whether another member has our identity."""

    peer_id = US.peer_id

    def __init__(self, *, twin: bool | SwarmError) -> None:
        self.twin = twin
        self.announced = 0
        self.looked_before: list[int] = []  # how many heartbeats there had been at each look

    async def announce(self, announcement: Announcement) -> Announcement:
        self.announced += 1
        return announcement

    async def has_twin(self) -> bool:
        self.looked_before.append(self.announced)
        if isinstance(self.twin, SwarmError):
            raise self.twin
        return self.twin


async def beat(swarm: Any, times: int) -> None:
    heartbeats = Heartbeats(swarm, lambda: describe(US), seconds=0.001)
    beating = asyncio.create_task(heartbeats.beat_forever())
    await until(lambda: swarm.announced >= times or beating.done())
    beating.cancel()
    await asyncio.wait({beating})


async def test_a_second_server_with_the_same_identity_is_named(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        await beat(Swarm(twin=True), 2)

    assert US.peer_id in caplog.messages[0]
    assert "another server uses this server's identity" in caplog.messages[0]
    assert "--identity FILE" in caplog.messages[0]


async def test_a_twin_is_looked_for_soon_and_then_rarely():
    """Every look reads the records of all servers. It comes before the record that would replace a twin's."""
    swarm = Swarm(twin=False)
    await beat(swarm, 45)

    assert swarm.looked_before[:6] == [0, 1, 3, 7, 19, 39]


async def test_a_look_that_fails_ends_no_heartbeat():
    swarm = Swarm(twin=SwarmError("no peer answers"))
    await beat(swarm, 3)

    assert swarm.looked_before[:2] == [0, 1]
