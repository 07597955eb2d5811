"""Tasks with an owner: ways to wait for work, and to end it, that asyncio doesn't have.

`asyncio.TaskGroup` is the first choice where every task ends by itself. Here is the rest: tasks
that all end when the first one ends (`first_of`), tasks that end when their owner is done (`Nursery`,
`ending`), and waiting that a cancellation doesn't cut short (`ended`, `undisturbed`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


async def cancel_and_wait(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel tasks and wait until they have ended; None and what has ended already is passed over.

    A cancellation meanwhile is passed on to them and raised when they have ended: an owner never leaves a
    task of its own behind. What the tasks raise is theirs: an owner that wants to know asks the task.
    """
    left = [task for task in tasks if task is not None]
    for task in left:
        task.cancel()
    await _until_ended(left, pass_cancellation_on=True)


@asynccontextmanager
async def ending(work: asyncio.Future[_T]) -> AsyncIterator[asyncio.Future[_T]]:
    """Run `work` beside the block, and end it with the block."""
    try:
        yield work
    finally:
        await cancel_and_wait(work)


async def ended(work: asyncio.Future[Any]) -> None:
    """Wait until `work` has ended, well or not, also if we are cancelled: for what takes bounded time."""
    await _until_ended([work], pass_cancellation_on=False)


async def _until_ended(works: Sequence[asyncio.Future[Any]], *, pass_cancellation_on: bool) -> None:
    """Wait until all have ended, also if we are cancelled; a cancellation is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while pending := [work for work in works if not work.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
            if pass_cancellation_on:
                for work in pending:
                    work.cancel()
    for work in works:
        if not work.cancelled():
            work.exception()  # marks it as seen, so that asyncio doesn't complain later
    if cancelled is not None:
        raise cancelled


async def undisturbed(work: asyncio.Future[_T]) -> _T:
    """The result of `work`, which has ended also if we are cancelled meanwhile."""
    await ended(work)
    return work.result()


async def unless(end: Coroutine[Any, Any, object], work: Coroutine[Any, Any, _T], error: Exception) -> _T:
    """The result of `work`; raises `error`, and cancels `work`, if `end` is reached before."""
    working, ending_ = asyncio.create_task(work), asyncio.create_task(end)
    try:
        await asyncio.wait({working, ending_}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise error
        return working.result()
    finally:
        await cancel_and_wait(working, ending_)


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Do all of it until one ends, and end the others; raises what the first one raises."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel_and_wait(*tasks)


async def all_of(*works: Coroutine[Any, Any, _T]) -> list[_T]:
    """Do everything at the same time; returns the results in order.

    The first error ends the rest and is raised as it is. (A TaskGroup would wrap it into an ExceptionGroup.)
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(*tasks)


class Nursery:
    """Tasks that come and go, and end with their owner.

    As `async with`: when the block ends its tasks are ended. A task that fails ends the block, which raises
    the task's error as it is. Where no block fits, an owner makes one, and awaits `close()`; the error of a
    task is then logged, with its traceback.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unwanted: set[asyncio.Task[Any]] = set()  # that were still running when their owner ended
        self._owner: asyncio.Task[Any] | None = None
        self._has_cancelled_owner = False
        self._error: BaseException | None = None
        self._closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._owner is not None
        interrupted = await self._end_all()
        if self._has_cancelled_owner:
            others_want_the_end = self._owner.uncancel() > 0
        else:
            others_want_the_end = interrupted or isinstance(error, asyncio.CancelledError)
        if others_want_the_end:
            if not isinstance(error, asyncio.CancelledError):
                raise asyncio.CancelledError
        elif self._error is not None:
            if isinstance(error, asyncio.CancelledError | None):
                raise self._error
            logger.error("a task failed beside its owner", exc_info=self._error)

    async def _end_all(self) -> bool:
        """End all tasks, however often we are cancelled meanwhile; returns whether we were."""
        self._closing, interrupted = True, False
        while self._tasks:
            self._unwanted.update(task for task in self._tasks if not task.done())
            try:
                await cancel_and_wait(*self._tasks)
            except asyncio.CancelledError:
                interrupted = True
            for task in [task for task in self._tasks if task.done()]:
                self._ended(task)  # its callback may come later
        return interrupted

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run `work` until it ends, or its owner does."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self, grace_seconds: float = 0.0) -> None:
        """End all tasks, which first have `grace_seconds` to end by themselves. Closing twice is harmless."""
        if grace_seconds and self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        if await self._end_all():
            raise asyncio.CancelledError

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if task not in self._tasks:
            return
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if task in self._unwanted:
            logger.warning("a task failed while it was ended: %r", error)
        elif self._owner is None:
            logger.error("a background task failed", exc_info=error)
        elif self._error is None:
            self._error = error
            if not self._closing:
                self._has_cancelled_owner = True
                self._owner.cancel()
