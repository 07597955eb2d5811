"""Leaving politely: sessions are asked to move, and get time to, while the server still serves them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from p2pinfer.errors import SwarmError
from p2pinfer.server.sessions import SessionTable
from p2pinfer.swarm.announcement import Announcement
from p2pinfer.swarm.dht import Swarm

logger = logging.getLogger(__name__)

_WITHDRAW_SECONDS = 2.0


async def drain(
    sessions: SessionTable, seconds: float, hurry: asyncio.Event, say: Callable[[str], None]
) -> None:
    """Return when every session has gone, after so many seconds, or when `hurry` is set."""
    if not len(sessions) or not seconds or hurry.is_set():
        return
    say(
        f"draining: {counted(len(sessions), 'session moves', 'sessions move')} to other servers "
        f"(at most {seconds:.0f} s; Ctrl-C again leaves at once)"
    )
    sessions.announce_draining(seconds)
    waiting = [asyncio.create_task(wait) for wait in (sessions.wait_empty(), _wait(hurry))]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


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


def counted(number: int, one: str, many: str) -> str:
    """A number and the words for it."""
    return f"{number} {one if number == 1 else many}"


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
