"""How many texts in the background are wanted at the same time. Imports no library."""

from __future__ import annotations

from typing import Protocol


class Room(Protocol):
    """Used as a semaphore. `asyncio.Semaphore` and `TextModel.background_room` are such."""

    async def acquire(self) -> object:
        """Wait until one more is wanted."""

    def release(self) -> None:
        """One has ended."""
