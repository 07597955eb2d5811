"""Several ways to the same thing, tried side by side, each a moment after the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from p2pinfer.errors import SwarmError
from p2pinfer.tasks import cancel_and_wait

T = TypeVar("T")


async def first_success(
    attempts: Sequence[Callable[[], Coroutine[Any, Any, T]]],
    head_start_seconds: float,
    undo: Callable[[T], Awaitable[object]],
) -> T:
    """Return what the first attempt that succeeds returns; `undo` what others return meanwhile.

    The next attempt begins when the one before has failed, or hasn't succeeded in `head_start_seconds`. There
    is at least one. Raises the SwarmErrors of all attempts as an ExceptionGroup if every attempt fails.
    """
    waiting, errors = list(attempts), list[SwarmError]()
    running, winner, ours = set[asyncio.Task[T]](), None, set[asyncio.Task[T]]()
    try:
        while waiting or running:
            if waiting:
                task = asyncio.create_task(waiting.pop(0)())
                running.add(task)
                ours.add(task)
            done, running = await asyncio.wait(
                running,
                timeout=head_start_seconds if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                if (error := task.exception()) is None:
                    winner = task
                    return task.result()
                if not isinstance(error, SwarmError):
                    raise error
                errors.append(error)
        raise ExceptionGroup("every attempt failed", errors)
    finally:
        try:
            await cancel_and_wait(*running)
        except asyncio.CancelledError:
            winner = None  # the caller doesn't get it any more
            raise
        finally:
            for task in ours - {winner}:
                if not task.cancelled() and task.exception() is None:
                    await undo(task.result())
