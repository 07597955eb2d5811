"""Ways to wait for work that asyncio doesn't have."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def ended(work: asyncio.Future[Any]) -> None:
    """Wait until `work` has ended, well or not, also if we are cancelled: for what takes bounded time."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
    if not work.cancelled():
        work.exception()  # if nobody asks for it, it has been seen
    if cancelled is not None:
        raise cancelled


async def undisturbed(work: asyncio.Future[_T]) -> _T:
    """The result of `work`, which has ended also if we are cancelled meanwhile."""
    await ended(work)
    return work.result()


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


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Do all of it until one ends, for the others never do; raises what it raises."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
