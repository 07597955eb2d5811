"""How late the event loop is. What blocks it delays every stream of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_SECONDS = 0.1


async def watch_loop(note: Callable[[float], None], *, seconds: float = _SECONDS) -> None:
    """Call `note` every `seconds` with the seconds that this was late. Runs until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + seconds
        await asyncio.sleep(seconds)
        note(max(0.0, loop.time() - due))
