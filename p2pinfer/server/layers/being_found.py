"""Whether newcomers find this server. If not, somebody may stand between them and its record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn

from p2pinfer.backoff import jittered
from p2pinfer.errors import SwarmError
from p2pinfer.swarm.addresses import is_loopback
from p2pinfer.swarm.newcomer import is_found
from p2pinfer.swarm.swarm import Swarm

logger = logging.getLogger(__name__)

FIRST_SECONDS = 90.0
"""After the first announcement."""
EVERY_SECONDS = 1200.0
AGAIN_SECONDS = 60.0
"""After a look that did not find us: one of them alone is chance."""
MISSES = 2
"""So many looks in a row that did not find us."""


class BeingFound:
    """What the looks have shown. Pure."""

    def __init__(self) -> None:
        self.is_hidden = False
        self._misses = 0

    def learn(self, found: bool | None) -> str | None:
        """Take the outcome of a look, None for one that failed. Returns a line for the owner, if any."""
        if found is None:
            return None
        self._misses = 0 if found else self._misses + 1
        was_hidden, self.is_hidden = self.is_hidden, self._misses >= MISSES or (self.is_hidden and not found)
        if self.is_hidden == was_hidden:
            return None
        if not self.is_hidden:
            return "newcomers find this server again"
        return (
            "newcomers to the swarm don't find this server: somebody may hold its record back. From now on "
            "more members keep it"
        )

    @property
    def next_seconds(self) -> float:
        """How long to wait until the next look."""
        return AGAIN_SECONDS if self._misses else EVERY_SECONDS


async def watch_being_found(swarm: Swarm, model: str, announce_soon: Callable[[], None]) -> NoReturn:
    """Look again and again; while newcomers don't find us, have our record kept at more members, and say so.

    A swarm of this machine alone has no strangers in it: nobody looks there.
    """
    await watch(partial(_look, swarm, model), partial(_tell, swarm, announce_soon))


async def watch(look: Callable[[], Awaitable[bool | None]], tell: Callable[[bool, str], None]) -> NoReturn:
    """Look again and again; `tell` whether we are hidden, with a line for the owner, when that changes."""
    being_found = BeingFound()
    await asyncio.sleep(jittered(FIRST_SECONDS))
    while True:
        found: bool | None = None
        try:
            found = await look()
        except SwarmError as error:
            logger.debug("no newcomer could look for us: %s", error)
        if (line := being_found.learn(found)) is not None:
            tell(being_found.is_hidden, line)
        await asyncio.sleep(jittered(being_found.next_seconds))


async def _look(swarm: Swarm, model: str) -> bool | None:
    known = [maddr for maddrs in swarm.acquaintances().values() for maddr in maddrs]
    return None if all(map(is_loopback, known)) else await is_found(swarm, model)


def _tell(swarm: Swarm, announce_soon: Callable[[], None], is_hidden: bool, line: str) -> None:
    swarm.is_hidden = is_hidden
    logger.warning(line)
    announce_soon()
