"""How many texts in the background are wanted: as many as have rows, and a few that wait for the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from p2pinfer.client.batching.row_job import CLOSED
from p2pinfer.errors import UsageError

_AHEAD = 16
"""So many wait for rows, or are being prepared: a row that becomes free is taken at once."""


class BackgroundRoom:
    """A semaphore whose limit follows the rows that servers give. For one event loop.

    Whoever has many texts acquires it before each, and releases it when the text has ended. So all rows are
    busy, and memory holds no more texts than that.
    """

    def __init__(self, running: Callable[[], int]) -> None:
        """`running` counts the texts in the background that have rows now."""
        self._running = running
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_closed = False

    async def acquire(self) -> None:
        """Wait until one more text is wanted; first come, first served. Raises UsageError after `close`."""
        if self._is_closed:
            raise UsageError(CLOSED)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.look()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """A text has ended, or will not be made."""
        self._taken -= 1
        self.look()

    def look(self) -> None:
        """Let those in whose turn it is: more texts may have rows than before."""
        while self._waiting and self._taken < self._running() + _AHEAD:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)

    def close(self) -> None:
        """Nothing is wanted any more: those that wait get a UsageError."""
        self._is_closed = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(UsageError(CLOSED))
