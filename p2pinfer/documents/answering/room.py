"""How many texts are wanted at the same time."""

from __future__ import annotations

from typing import Any, Protocol


class Room(Protocol):
    """`asyncio.Semaphore` and `TextModel.background_room` are such."""

    async def acquire(self) -> Any:
        """Wait until one more is wanted."""

    def release(self) -> None:
        """One has ended."""
