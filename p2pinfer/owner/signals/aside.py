"""Blocking calls, in threads that nobody has to wait for.

A look at a sensor, a file on a dead network share or a name server that has gone may block for minutes.
asyncio's own executor would hold up the end of the whole program for that long.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")


class Aside:
    """A thread for one caller, who waits for one call before the next.

    It is kept between calls: starting one costs as much as most looks do (0.35 ms), every two seconds.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Let the thread end, now or whenever what blocks it has returned."""
        self._work.put(None)

    async def run(self, work: Callable[[], _T]) -> _T:
        """What `work` returns or raises. If this is cancelled, nobody hears of that any more."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_forever, name="owner-signal", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def deliver(outcome: Callable[[], None]) -> None:
            if not future.done():
                outcome()

        def call() -> None:
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001  carried over to whoever awaits
                error = raised
                outcome: Callable[[], None] = lambda: future.set_exception(error)  # noqa: E731
            else:
                outcome = lambda: future.set_result(result)  # noqa: E731
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(deliver, outcome)

        self._work.put(call)
        return await future

    def _run_forever(self) -> None:
        while (call := self._work.get()) is not None:
            call()


async def aside(work: Callable[[], _T]) -> _T:
    """Run `work` once in a thread of its own."""
    with contextlib.closing(Aside()) as thread:
        return await thread.run(work)
