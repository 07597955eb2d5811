"""A server's word to the swarm: first, again and again, and last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from p2pinfer.errors import SwarmError
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.swarm import Swarm

logger = logging.getLogger(__name__)

_FIRST_SECONDS = 30.0
_RETRY_SECONDS = 1.0
_WITHDRAW_SECONDS = 2.0


async def announce_first(swarm: Swarm, describe: Callable[[], Announcement]) -> None:
    """Announce what nobody knows yet, also if the swarm is away for the moment.

    Raises SwarmError if it stays away.
    """
    deadline = asyncio.get_running_loop().time() + _FIRST_SECONDS
    while True:
        try:
            await swarm.announce(describe())
        except SwarmError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            logger.warning("announcing failed: %s; trying again", error)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


async def withdraw(swarm: Swarm, announcement: Announcement) -> None:
    """Take our record back, if the swarm lets us soon: else it expires by itself."""
    with contextlib.suppress(SwarmError, TimeoutError):
        async with asyncio.timeout(_WITHDRAW_SECONDS):
            await swarm.withdraw(announcement)


class Heartbeats:
    """Announces a server again and again, and at once when asked to.

    `describe()` gives the announcement as it is now.
    """

    def __init__(self, swarm: Swarm, describe: Callable[[], Announcement], seconds: float) -> None:
        self._swarm = swarm
        self._describe = describe
        self._seconds = seconds
        self._due = asyncio.Event()

    def hasten(self) -> None:
        """Don't wait for the next heartbeat."""
        self._due.set()

    async def beat_forever(self) -> None:
        """Announce every so many seconds. What fails is tried again with the next heartbeat."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._due.wait()
            self._due.clear()
            try:
                await self._swarm.announce(self._describe())
            except SwarmError as error:  # the record lives for four heartbeats
                logger.warning("announcing failed: %s", error)

    async def hasten_after_rejoining(self) -> None:
        """Announce as soon as the swarm, lost for some reason, was joined again."""
        while True:
            await self._swarm.wait_rejoined()
            self.hasten()
