"""The messages of one call to a peer: one at a time, and a sign of life in a long wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from p2pinfer.tasks import ending
from p2pinfer.wire.status import Reason, Refused


class Pace:
    """How fast a peer has to take what is sent. Pure: only the time of writing counts, which it is told."""

    def __init__(self, bytes_per_second: float, spare_seconds: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._left_seconds = spare_seconds

    def seconds_for(self, size_bytes: int) -> float:
        """How long the next message of this size may take."""
        self._left_seconds += size_bytes / self._bytes_per_second
        return self._left_seconds

    def took(self, seconds: float) -> None:
        """The peer has taken it."""
        self._left_seconds = max(0.0, self._left_seconds - seconds)


class Answers:
    """Writes to a call's context."""

    def __init__(self, context: Any, stall_seconds: float, pace: Pace) -> None:
        """A message that the peer hasn't taken after `stall_seconds`, or in its pace, ends the call."""
        self._context = context
        self._stall_seconds = stall_seconds
        self._pace = pace
        self._turn = asyncio.Lock()
        self._written = 0

    async def write(self, message: Any, size_bytes: int | None = None) -> None:
        """Send a message, when the peer's window has room for it. Raises Refused: IDLE.

        `size_bytes` is what it has of a file, whose reader has to keep up; None: it needn't.
        """
        now = asyncio.get_running_loop().time
        async with self._turn:
            seconds = self._stall_seconds
            if size_bytes is not None:
                seconds = min(seconds, self._pace.seconds_for(size_bytes))
            since = now()
            try:
                async with asyncio.timeout(seconds):
                    await self._context.write(message)
            except TimeoutError as error:
                detail = f"what was sent was read too slowly, or not at all for {seconds:.0f} s"
                raise Refused(Reason.IDLE, detail) from error
            if size_bytes is not None:
                self._pace.took(now() - since)
        self._written += 1

    @asynccontextmanager
    async def pulse(self, message: Any, seconds: float) -> AsyncIterator[None]:
        """While the block waits, send `message` every so many seconds."""
        async with ending(asyncio.ensure_future(self._pulse_forever(message, seconds))):
            yield

    async def _pulse_forever(self, message: Any, seconds: float) -> None:
        while True:
            written = self._written
            await asyncio.sleep(seconds)
            if self._written == written and not self._turn.locked():
                await self.write(message)
