"""Two ways to wait for work that asyncio doesn't have."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def undisturbed(task: asyncio.Task[_T]) -> _T:
    """Wait until `task` has ended, also if we are cancelled meanwhile: for ends that take bounded time."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


async def unless(end: Coroutine[Any, Any, object], work: Coroutine[Any, Any, _T], error: Exception) -> _T:
    """The result of `work`; raises `error`, and cancels `work`, if `end` is reached before."""
    working, ending = asyncio.create_task(work), asyncio.create_task(end)
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise error
        return working.result()
    finally:
        working.cancel()
        ending.cancel()
        await asyncio.gather(working, ending, return_exceptions=True)
