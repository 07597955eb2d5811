"""Keeps what a client learns of servers in a file while the client runs, and learns what others wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2pinfer.client.trust.kept import KeptReputations
from p2pinfer.client.trust.reputations import Reputations
from p2pinfer.tasks import ended, ending
from p2pinfer.threads import in_thread

_EVERY_SECONDS = 30.0
_SOON_SECONDS = 1.0


class Remembering:
    """For one event loop. Without a file the memory ends with the process."""

    def __init__(self, kept: KeptReputations | None) -> None:
        self.reputations = Reputations()
        self._kept = kept
        self._is_urgent = asyncio.Event()

    def soon(self) -> None:
        """Something was learned that other processes should know."""
        self._is_urgent.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the file first, exchange what is known for as long as the block lasts, and at its end."""
        if self._kept is None:
            yield
            return
        self.reputations.merge(await in_thread(self._kept.read), self._kept.now())
        try:
            async with ending(asyncio.create_task(self._exchange_forever(self._kept))):
                yield
        finally:
            await ended(asyncio.ensure_future(self._exchange(self._kept)))

    async def _exchange_forever(self, kept: KeptReputations) -> None:
        while True:
            try:
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._is_urgent.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(_SOON_SECONDS)  # more may follow
            self._is_urgent.clear()
            await self._exchange(kept)

    async def _exchange(self, kept: KeptReputations) -> None:
        known = dict(self.reputations.known)
        self.reputations.merge(await in_thread(lambda: kept.exchange(known)), kept.now())
