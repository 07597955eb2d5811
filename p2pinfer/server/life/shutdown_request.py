"""The owner's request that the server exits: from signals in, events out."""

from __future__ import annotations

import asyncio


class ShutdownRequest:
    """Asked once, the server drains first; asked twice, it leaves at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.urgent = asyncio.Event()

    def ask(self) -> bool:
        """Ask, or ask again. Returns False from the third time on: there is nothing left to ask for."""
        for event in (self.asked, self.urgent):
            if not event.is_set():
                event.set()
                return True
        return False
