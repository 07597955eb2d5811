"""How many bytes of texts are in memory at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2pinfer.openai_api.work.room import Room
from p2pinfer.tasks import undisturbed


class TextMemory:
    """A bound for all texts together; one that is larger than the bound comes alone. For the event loop."""

    def __init__(self, most_bytes: int, room: Room) -> None:
        """`room` is what each text has acquired once."""
        self._most_bytes = most_bytes
        self._room = room
        self._used_bytes = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def holding(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold so many bytes during the block. While that has to wait, others may have the room."""
        held_bytes = 0
        try:
            if not self._fits(size_bytes):
                async with self._without_room(), self._changed:
                    await self._changed.wait_for(lambda: self._fits(size_bytes))
                    held_bytes = size_bytes
                    self._used_bytes += size_bytes
            else:
                held_bytes = size_bytes
                self._used_bytes += size_bytes
            yield
        finally:
            self._used_bytes -= held_bytes
            async with self._changed:
                self._changed.notify_all()

    @asynccontextmanager
    async def _without_room(self) -> AsyncIterator[None]:
        """Give the room back, and acquire it again, also if we are cancelled: the caller will release it."""
        self._room.release()
        try:
            yield
        finally:
            await undisturbed(asyncio.ensure_future(self._room.acquire()))

    def _fits(self, size_bytes: int) -> bool:
        return self._used_bytes == 0 or self._used_bytes + size_bytes <= self._most_bytes
