"""The bridge between an event loop and threads: both ways, and what happens when one of the two has gone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")

_LOOK_SECONDS = 1.0


def tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    """Have something done in the event loop. Any thread may. Nothing happens if the loop is closed."""
    with contextlib.suppress(RuntimeError):  # closed: no caller waits any more
        loop.call_soon_threadsafe(callback, *arguments)


def answer(
    future: asyncio.Future[_T],
    question: Callable[[], _T],
    *,
    expected: type[BaseException] | tuple[type[BaseException], ...] = BaseException,
) -> None:
    """Run `question` in this thread; `future`, which a loop awaits, gets what it returns or raises.

    What is not `expected` is raised here instead: it is this thread's own fault. If the caller that
    awaits has been cancelled, the answer is dropped.
    """
    try:
        result = question()
    except expected as error:
        tell(future.get_loop(), _fail, future, error)
    else:
        tell(future.get_loop(), _resolve, future, result)


class BackgroundThread:
    """A thread that does one thing after the other for coroutines. It never holds up the program's end.

    It begins with the first call and is kept for the next ones: starting one takes 0.35 ms. A call that
    blocks for minutes (a sensor, a dead network share) blocks those behind it, and nothing else.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run `work` in the thread, return its result. If the caller is cancelled, the result is dropped.

        Raises RuntimeError if the thread was closed.
        """
        if self._is_closed:
            raise RuntimeError("the thread was closed: nothing runs on it any more")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_forever, name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._calls.put(lambda: answer(future, work))
        return await future

    def close(self) -> None:
        """Let the thread end, now or whenever what blocks it has returned."""
        self._is_closed = True
        self._calls.put(None)

    def _run_forever(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


async def in_thread(work: Callable[[], _T], *, name: str = "p2pinfer-call") -> _T:
    """Run a blocking function once, in a thread that a cancelled or ending program does not wait for.

    asyncio.to_thread would hold up Ctrl-C until a model has been converted to its end.
    """
    with contextlib.closing(BackgroundThread(name)) as thread:
        return await thread.run(work)


class LoopGoneError(Exception):
    """The thread that ran the event loop has ended."""


def run_in_loop(
    loop: asyncio.AbstractEventLoop, thread: threading.Thread, work: Coroutine[Any, Any, _T]
) -> _T:
    """Run a coroutine in the loop of another thread and wait for its result or exception.

    asyncio.run_coroutine_threadsafe does the same at twice the cost, which is paid for every token. An
    interruption of the wait (Ctrl-C) cancels the coroutine. Raises LoopGoneError if `thread` has ended.
    """
    return _Visit(loop, work).wait(thread)


class _Visit(Generic[_T]):
    """A coroutine in the loop, and the thread that waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, _T]) -> None:
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[_T] | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def wait(self, thread: threading.Thread) -> _T:
        try:
            self._loop.call_soon_threadsafe(self._start)
        except RuntimeError as error:  # closed
            self._work.close()
            raise LoopGoneError from error
        try:
            while not self._done.acquire(timeout=_LOOK_SECONDS):
                if not thread.is_alive():
                    raise LoopGoneError
        except BaseException:
            tell(self._loop, self._cancel)
            raise
        assert self._task is not None
        return self._task.result()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(lambda task: self._done.release())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _resolve(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
