"""The messages of one call to a peer: one at a time, and a sign of life in a long wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from p2pinfer.tasks import ending
from p2pinfer.wire.status import Reason, Refused


class Answers:
    """Writes to a call's context."""

    def __init__(self, context: Any, stall_seconds: float) -> None:
        """A message that the peer hasn't taken after `stall_seconds` ends the call."""
        self._context = context
        self._stall_seconds = stall_seconds
        self._turn = asyncio.Lock()
        self._written = 0

    async def write(self, message: Any) -> None:
        """Send a message, when the peer's window has room for it. Raises Refused: IDLE."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    await self._context.write(message)
            except TimeoutError as error:
                detail = f"nothing was read for {self._stall_seconds:.0f} s"
                raise Refused(Reason.IDLE, detail) from error
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
