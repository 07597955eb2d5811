"""Tells the owner how others reach the server: once it is known, and when it has changed for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

from p2pinfer.swarm.reach.report import ReachReport, WayIn, reached_in_words

FIRST_SECONDS = 12.0
"""If nobody has looked by then, the owner is told that."""
LOOK_SECONDS = 2.0
STEADY_SECONDS = 6.0
"""What has changed is told when it has stayed so: a relay that is lost is replaced within seconds."""


class ReachNews:
    """What the owner knows, and what is new. Pure: seconds of any clock that doesn't jump."""

    def __init__(self) -> None:
        self._told: object = None
        self._seen: object = None
        self._seen_at = 0.0
        self._began_at: float | None = None

    def line(self, report: ReachReport, now: float) -> str | None:
        """The line to tell the owner now; None if there is none."""
        if self._began_at is None:
            self._began_at = now
        kind = _kind_of(report)
        if kind != self._seen:
            self._seen, self._seen_at = kind, now
        if kind == self._told:
            return None
        if report.way_in is WayIn.UNKNOWN:
            # p2pd has ended, and nobody has looked since: what was told is the best that is known.
            is_time = self._told is None and now - self._began_at >= FIRST_SECONDS
        else:
            is_time = self._told is None or now - self._seen_at >= STEADY_SECONDS
        if not is_time:
            return None
        self._told = kind
        return reached_in_words(report)


async def tell_reach_forever(
    news: ReachNews, reach: Callable[[], ReachReport], say: Callable[[str], None]
) -> NoReturn:
    """Look again and again, and say what is new."""
    while True:
        if (line := news.line(reach(), asyncio.get_running_loop().time())) is not None:
            say(line)
        await asyncio.sleep(LOOK_SECONDS)


def _kind_of(report: ReachReport) -> object:
    """What makes another line. How many tunnels are punched changes all the time."""
    match report.way_in:
        case WayIn.RELAYED:
            return report.way_in, frozenset(report.relays)
        case WayIn.NONE:
            return report.way_in, report.trouble
    return report.way_in, report.endpoints
