"""One question to several peers at once, until one of them has answered it well.

Of hundreds of records, most may be of peers that are gone, or that never were: those that don't connect hold
nobody up. One that talks for long makes room, while there are others that haven't been asked.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TypeVar

from p2pinfer.backoff import jittered
from p2pinfer.errors import HopFailedError, P2PInferError, ProtocolError, RefusedError, StoreError
from p2pinfer.plain_text import printable
from p2pinfer.sharing.fetch.calls import SharingCalls, connected
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.types import short_id
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.status import Reason

logger = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

MOST_DIALLING = 24
"""Connections are sought to so many at once, or wait for their turn to talk."""
MOST_TALKING = 6
_TALK_SECONDS = 5.0  # while others wait; twice as long the next time
_DIAL_SECONDS = 6.0  # for all: to an endpoint, and then through a tunnel
_BUSY_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
"""So long peers that are busy are asked again."""
_SHOWN = 8


class Several:
    """Asks some peers. Used once; an event-loop object."""

    def __init__(
        self, holders: Sequence[Holder], pool: ChannelPool, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._holders = list(holders)
        self._pool = pool
        self._patience_seconds = patience_seconds
        self._dialling = asyncio.Semaphore(MOST_DIALLING)
        self._talking = asyncio.Semaphore(MOST_TALKING)
        self._waiting = 0  # for their turn to talk
        self._complaints: list[str] = []

    @property
    def complaints(self) -> str:
        """Who was asked, and why in vain; in one line."""
        return "; ".join(self._complaints[:_SHOWN]) or "nobody, no peer is known"

    async def ask(self, talk: Callable[[Holder, SharingCalls], Awaitable[_Answer]]) -> _Answer | None:
        """What the first good talk gives; None if all of them fail. Those that are left are ended.

        `talk` may be ended, and begun again later. It raises as calls do, and StoreError for nonsense.
        """
        random.shuffle(self._holders)
        tasks = {asyncio.create_task(self._ask_one(holder, talk)) for holder in self._holders}
        left = tasks
        try:
            while left:
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (answer := task.result()) is not None:
                        return answer
            return None
        finally:
            await cancel_and_wait(*tasks)

    async def _ask_one(
        self, holder: Holder, talk: Callable[[Holder, SharingCalls], Awaitable[_Answer]]
    ) -> _Answer | None:
        now = asyncio.get_running_loop().time
        ends_at, talk_seconds = now() + self._patience_seconds, _TALK_SECONDS
        while True:
            try:
                async with self._dialling:
                    return await self._talk(holder, talk, talk_seconds)
            except TimeoutError:
                talk_seconds *= 2
            except RefusedError as error:
                pause = jittered(error.retry_after_seconds or _BUSY_SECONDS)
                if error.reason != Reason.BUSY or now() + pause > ends_at:
                    self._complain(holder, error)
                    return None
                await asyncio.sleep(pause)
            except (ProtocolError, StoreError) as error:
                self._complain(holder, error)
                logger.warning(
                    "peer %s gave what it should not: %s", short_id(holder.peer_id), printable(str(error))
                )
                return None
            except P2PInferError as error:
                self._complain(holder, error)
                return None

    async def _talk(
        self,
        holder: Holder,
        talk: Callable[[Holder, SharingCalls], Awaitable[_Answer]],
        talk_seconds: float,
    ) -> _Answer:
        """Raises TimeoutError if the peer talks for long while others wait."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_DIAL_SECONDS):
                    calls = await stack.enter_async_context(connected(self._pool, holder.address))
            except TimeoutError as error:
                raise HopFailedError(holder.peer_id, "it can't be reached", certain=False) from error
            self._waiting += 1
            try:
                await stack.enter_async_context(self._talking)
            finally:
                self._waiting -= 1
            talking = asyncio.ensure_future(talk(holder, calls))
            try:
                while True:
                    done, _ = await asyncio.wait([talking], timeout=talk_seconds)
                    if done:
                        return talking.result()
                    if self._waiting:
                        raise TimeoutError
            finally:
                await cancel_and_wait(talking)

    def _complain(self, holder: Holder, error: Exception) -> None:
        self._complaints.append(f"{short_id(holder.peer_id)}: {printable(str(error))}")
