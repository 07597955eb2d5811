"""Leaving politely: clients are asked to move their sessions, and the server serves on until they have."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from p2pinfer.server.sessions.session_table import SessionTable
from p2pinfer.tasks import first_of

SETTLE_SECONDS = 2.0
"""How long a leaving server waits for the last receipts: a round trip and a moment."""


async def drain(
    sessions: SessionTable, seconds: float, hurry: asyncio.Event, say: Callable[[str], None]
) -> None:
    """Return when every session has gone, after `seconds`, or when `hurry` is set."""
    if not len(sessions) or not seconds or hurry.is_set():
        return
    sessions.announce_draining(seconds)
    say(
        f"draining: {counted(len(sessions), 'session moves', 'sessions move')} to other servers "
        f"(at most {seconds:.0f} s; Ctrl-C again leaves at once)"
    )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await first_of(sessions.wait_empty(), hurry.wait())


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun.

    >>> counted(1, "session", "sessions"), counted(2, "session", "sessions")
    ('1 session', '2 sessions')
    """
    return f"{number} {one if number == 1 else many}"
