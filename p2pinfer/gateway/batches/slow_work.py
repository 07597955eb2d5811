"""Work in threads that takes long: it gives way to everybody else, and ends soon when it isn't wanted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from p2pinfer.gateway.storage import storage_errors
from p2pinfer.model.memory import return_memory
from p2pinfer.tasks import cancel_and_wait, undisturbed
from p2pinfer.threads import in_thread

_T = TypeVar("_T")

_BUSY_SECONDS = 0.005
"""A thread works for so long, then everybody else has as long: parsing holds the interpreter."""


class Pacing:
    """Goes through things with pauses, until somebody stops it."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def stop(self) -> None:
        """From another thread: let it end."""
        self._stopping.set()

    def __call__(self, things: Iterable[_T]) -> Iterator[_T]:
        """The things as they are. Raises StoppedError in their middle if it is stopped."""
        began = time.monotonic()
        for thing in things:
            yield thing
            if time.monotonic() - began >= _BUSY_SECONDS:
                self._stopping.wait(_BUSY_SECONDS)
                began = time.monotonic()
            if self._stopping.is_set():
                raise StoppedError


class StoppedError(Exception):
    """Nobody wants the result any more. It never leaves `slowly`."""


async def slowly(work: Callable[[Pacing], _T]) -> _T:
    """What `work` returns, in a thread of its own, which goes through many things by the Pacing.

    If this is cancelled the thread has ended when it raises. Raises ApiError where the disk or the store
    fails, and what `work` raises.
    """
    pacing = Pacing()

    def work_and_clean_up() -> _T:
        try:
            return work(pacing)
        finally:
            return_memory()  # tens of MB that lines have taken

    async def to_its_end() -> _T:
        return await undisturbed(asyncio.create_task(in_thread(work_and_clean_up, name="p2pinfer-batch")))

    with storage_errors():
        return await stopping_first(pacing, to_its_end())


async def stopping_first(pacing: Pacing, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`, which has threads that go by the Pacing: if this is cancelled they end first."""
    working = asyncio.create_task(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        pacing.stop()
        await cancel_and_wait(working)
        raise
