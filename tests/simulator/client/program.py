"""A client's program: blocking code in a thread of its own, which runs only when the world lets it.

Only one thread runs at any moment: the world's, or one program's, which hands control back as soon as it
waits. So several sessions can step at the same time, and a seed still gives the same run.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

_current = threading.local()


class Abandoned(BaseException):
    """The run is over: raised in the program wherever it waits."""


class Program:
    """`work` in a thread; `finished` is resolved with None or the exception that ended it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
        self.finished: asyncio.Future[BaseException | None] = loop.create_future()
        self._loop = loop
        self._work = work
        self._abandoned = False
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread = threading.Thread(target=self._main, daemon=True)

    @staticmethod
    def current() -> Program:
        """The program whose thread this is."""
        program: Program = _current.program
        return program

    def start(self) -> None:
        """Let the program run until it first waits."""
        self._thread.start()
        self._resume()

    def wait_for(self, future: asyncio.Future[Any]) -> None:
        """Called by the program itself: let the world go on until the future is done."""
        if self._abandoned:
            raise Abandoned
        future.add_done_callback(self._resume)
        self._hand_back()

    def abandon(self) -> None:
        """End the program, if it hasn't ended by itself."""
        self._abandoned = True
        if not self.finished.done():
            self._resume()
        self._thread.join()

    def _resume(self, *_: object) -> None:
        if not self.finished.done():
            self._go.release()
            self._back.acquire()

    def _hand_back(self) -> None:
        self._back.release()
        self._go.acquire()
        if self._abandoned:
            raise Abandoned

    def _main(self) -> None:
        self._go.acquire()
        _current.program = self
        outcome: BaseException | None = None
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  every exception is the program's outcome
            outcome = error
        self.finished.set_result(outcome)
        self._back.release()
