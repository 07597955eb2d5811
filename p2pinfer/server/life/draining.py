"""Leaving politely: sessions are asked to move, and get time to, while the server still serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from p2pinfer.server.sessions.session_table import SessionTable

SETTLE_SECONDS = 2.0
"""How long a server that leaves waits for the last receipts: a round trip, and a moment."""


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


def counted(number: int, one: str, many: str) -> str:
    """A number and the words for it."""
    return f"{number} {one if number == 1 else many}"


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
