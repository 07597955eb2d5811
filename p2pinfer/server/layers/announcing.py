"""A server's record in the swarm: announced first, again and again, and withdrawn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from p2pinfer.backoff import Backoff, jittered
from p2pinfer.errors import SwarmError
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.swarm import Swarm

logger = logging.getLogger(__name__)

FIRST_SECONDS = 30.0
"""How long the first announcement is tried again."""
RETRIES = Backoff(first_seconds=1.0, most_seconds=5.0)
WITHDRAW_SECONDS = 2.0
_HEARTBEATS_BETWEEN_LOOKS = 20


async def announce_first(swarm: Swarm, describe: Callable[[], Announcement]) -> None:
    """Announce a new record; a swarm that is away for a moment is tried again.

    Raises SwarmError if it is still away after FIRST_SECONDS.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + FIRST_SECONDS
    failures = 0
    while True:
        try:
            await swarm.announce(describe())
        except SwarmError as error:
            if loop.time() > deadline:
                raise
            failures += 1
            wait_seconds = RETRIES.seconds(failures)
            logger.warning("announcing failed: %s; trying again in %.1f s", error, wait_seconds)
            await asyncio.sleep(wait_seconds)
        else:
            return


async def withdraw(swarm: Swarm, announcement: Announcement) -> None:
    """Take our record back. If the swarm doesn't answer soon, the record expires by itself."""
    with contextlib.suppress(SwarmError, TimeoutError):
        async with asyncio.timeout(WITHDRAW_SECONDS):
            await swarm.withdraw(announcement)


class _Looks:
    """When to look for a twin, which reads the records of all servers: soon, then every five minutes."""

    def __init__(self) -> None:
        self._heartbeats = 0

    def are_due(self) -> bool:
        """Count a heartbeat, and say whether to look at this one."""
        self._heartbeats += 1
        return self._heartbeats in (1, 2, 4, 8) or self._heartbeats % _HEARTBEATS_BETWEEN_LOOKS == 0


class Heartbeats:
    """Announces a server about every `seconds`, and at once on request.

    `describe()` returns the announcement as it is now. The period is jittered: servers that started together
    don't announce together.
    """

    def __init__(self, swarm: Swarm, describe: Callable[[], Announcement], seconds: float) -> None:
        self._swarm = swarm
        self._describe = describe
        self._seconds = seconds
        self._due = asyncio.Event()

    def announce_soon(self) -> None:
        """Announce now instead of at the next heartbeat."""
        self._due.set()

    async def beat_forever(self) -> None:
        """Announce again and again. An announcement that fails is repeated with the next heartbeat.

        Now and then, look for another server with the same identity, and say so.
        """
        looks = _Looks()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(jittered(self._seconds)):
                    await self._due.wait()
            self._due.clear()
            if looks.are_due():  # before our next record replaces a twin's
                with contextlib.suppress(SwarmError):
                    await self._look_for_twin()
            try:
                await self._swarm.announce(self._describe())
            except SwarmError as error:  # the record lives for four heartbeats
                logger.warning("announcing failed: %s", error)

    async def _look_for_twin(self) -> None:
        if await self._swarm.has_twin():
            logger.warning(
                "another server uses this server's identity, %s, perhaps on another machine: clients can't "
                "tell the two apart. Was the key file copied? Give each server its own --identity FILE",
                self._swarm.peer_id,
            )

    async def announce_news(self) -> None:
        """Announce at once when the swarm was lost and is joined again, or peers reach us otherwise."""
        while True:
            await self._swarm.wait_news()
            self.announce_soon()
