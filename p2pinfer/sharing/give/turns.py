"""A few calls are served at a time; others wait for their turn, in order; more than that are refused."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from p2pinfer.tasks import unless
from p2pinfer.wire.status import Reason, Refused


class Turns:
    """Bounds how many are served, and how many wait. An event-loop object."""

    def __init__(self, most: int, most_waiting: int, most_seconds: float, retry_seconds: float) -> None:
        """`most_seconds` is the longest wait; `retry_seconds` is what those who are refused are told."""
        self._free = most
        self._most_waiting = most_waiting
        self._most_seconds = most_seconds
        self._retry_seconds = retry_seconds
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return len(self._waiting)

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends. Raises Refused: BUSY."""
        await self._take()
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self) -> None:
        if self._free > 0:
            self._free -= 1
            return
        if len(self._waiting) >= self._most_waiting:
            raise self._busy()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._most_seconds):
                await turn
        except TimeoutError as error:
            self._leave(turn)
            raise self._busy() from error
        except asyncio.CancelledError:
            self._leave(turn)
            raise

    def _leave(self, turn: asyncio.Future[None]) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled():
            self._pass_on()  # it came at the very moment

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _busy(self) -> Refused:
        return Refused(Reason.BUSY, "too many peers are fetching from here", self._retry_seconds)


class Places:
    """Bounds how many calls of a kind are open; none waits. An event-loop object."""

    def __init__(self, most: int, retry_seconds: float) -> None:
        self._most = most
        self._retry_seconds = retry_seconds
        self._taken: deque[asyncio.Event] = deque()

    async def take(self, work: Coroutine[Any, Any, object]) -> None:
        """Do `work` in a place. When all are taken, the oldest is given to the newcomer.

        Raises Refused: BUSY, if the place was given away. A guest that takes all places and keeps them would
        else shut out everybody for ever; one that is sent away may come back.
        """
        while self._taken and len(self._taken) >= self._most:
            self._taken.popleft().set()
        is_given_away = asyncio.Event()
        self._taken.append(is_given_away)
        busy = Refused(Reason.BUSY, "too many peers are watching this one", self._retry_seconds)
        try:
            await unless(is_given_away.wait(), work, busy)
        finally:
            if is_given_away in self._taken:
                self._taken.remove(is_given_away)
