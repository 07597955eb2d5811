"""The thread that computes, and the ways to and from it: an inbox, questions, lanes that it watches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import selectors
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

from p2pinfer.errors import EngineError
from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.server.compute.throttle import Throttle, checked_duty
from p2pinfer.threads import answer, tell
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.status import Refused

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ComputeThread:
    """Runs batches, and between them reads lanes and does what it is called for.

    Use as a context manager in the event loop.
    """

    def __init__(self, batcher: Batcher, loop: asyncio.AbstractEventLoop) -> None:
        self._batcher = batcher
        self._throttle = Throttle()
        self._duty = self._throttle.duty
        self._loop = loop
        self._inbox: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._watched: set[Lane] = set()
        self._running = True
        self._ended = False
        self._asked: set[asyncio.Future[Any]] = set()
        self._failed: asyncio.Future[Exception] = loop.create_future()
        self.thread = threading.Thread(target=self._run_forever, name="compute", daemon=True)

    def __enter__(self) -> ComputeThread:
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._stop)
        self.thread.join(timeout=10)

    # Called in the event loop.

    async def wait_failed(self) -> NoReturn:
        """Wait for as long as the thread works. Raises EngineError when it has failed."""
        error = await asyncio.shield(self._failed)
        raise EngineError(f"the computing thread failed ({error}): start the server again") from error

    def call(self, work: Callable[..., object], *arguments: object) -> None:
        """Have something done on the thread, after all earlier calls and before lanes are read again."""
        self._inbox.put((work, arguments))
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: the thread has ended
            self._waker.send(b"\0")

    @property
    def duty(self) -> float:
        """The fraction of time that batches may take."""
        return self._duty

    @property
    def busy_seconds(self) -> float:
        """How long batches have run so far."""
        return self._throttle.busy_seconds

    def set_duty(self, duty: float) -> None:
        """Change the duty at once, also while the thread pauses. Raises ValueError unless 0 < duty <= 1."""
        self._duty = checked_duty(duty)
        self.call(self._obey, duty)

    def ask(self, question: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Have a question answered on the thread; it may raise Refused. Cancelled if the thread ends."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._ended:
            future.cancel()
            return future
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        self.call(self._answer, future, partial(question, *arguments))
        return future

    # Called on the thread.

    def tell(self, callback: Callable[..., object], *arguments: object) -> None:
        """Have something done in the event loop. Any thread may."""
        tell(self._loop, callback, *arguments)

    def watch(self, lane: Lane, when_readable: Callable[[Lane], None]) -> None:
        """Call `when_readable(lane)` whenever there is more to read; watching twice is harmless."""
        if lane not in self._watched:
            self._watched.add(lane)
            self._selector.register(lane, selectors.EVENT_READ, when_readable)

    def unwatch(self, lane: Lane) -> None:
        """Stop watching; harmless if the lane isn't watched."""
        if lane in self._watched:
            self._watched.discard(lane)
            self._selector.unregister(lane)

    def _run_forever(self) -> None:
        try:
            while self._running:
                self._wait()
                if self._running and self._pause_seconds() == 0:
                    self._throttle.run(self._batcher.run)
            self._drain_inbox()
        except Exception as error:  # a fault of ours: without this thread nothing is served any more
            logger.exception("the computing thread failed")
            self.tell(self._fail, error)
        self._close()

    def _wait(self) -> None:
        """Wait until something is to be done, and do it: first what was called for, then what lanes bring.

        A lane may bring the hello of a session that was opened a moment ago: the call that announces the
        session is in the inbox then.
        """
        ready = self._selector.select(self._pause_seconds())
        for key, _ in ready:
            if key.fileobj is self._wake:
                self._empty_wake()
        self._drain_inbox()
        for key, _ in ready:
            if key.fileobj is not self._wake:
                key.data(key.fileobj)

    def _obey(self, duty: float) -> None:
        self._throttle.set_duty(duty)
        self._batcher.duty = duty

    def _pause_seconds(self) -> float | None:
        """How long to wait before the next batch; None: until there is something to put into one."""
        return self._throttle.pause_seconds() if self._batcher.depth else None

    def _answer(self, future: asyncio.Future[T], question: Callable[[], T]) -> None:
        answer(future, question, expected=Refused)

    def _close(self) -> None:
        for lane in self._watched:
            lane.close()
        self._selector.close()
        self._wake.close()
        self._waker.close()
        self.tell(self._end)

    def _empty_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)

    def _drain_inbox(self) -> None:
        while not self._inbox.empty():
            work, arguments = self._inbox.get()
            work(*arguments)

    def _stop(self) -> None:
        self._running = False

    # In the event loop again.

    def _fail(self, error: Exception) -> None:
        if not self._failed.done():
            self._failed.set_result(error)

    def _end(self) -> None:
        self._ended = True
        for future in list(self._asked):
            future.cancel()
