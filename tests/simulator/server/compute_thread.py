"""The server's computing thread as a machine of events: batches take virtual time, and block all other work
of the thread."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

from p2pinfer.server.compute.batcher import Batcher, QueuedStep
from p2pinfer.wire.status import Refused
from tests.simulator.network.lanes import SimLane
from tests.simulator.server.malice import Malice, step_seconds

T = TypeVar("T")


class SimBatcher(Batcher):
    """The real batcher, with the virtual clock for arriving steps, and a price for waiting steps."""

    slow_factor = 1.0
    seconds_per_layer = 0.001
    seconds_per_layer_token = 0.0
    malice: Malice = ""

    def add(self, work: QueuedStep) -> None:
        work.arrived = asyncio.get_running_loop().time()
        super().add(work)

    def took(self, seconds: float) -> None:
        """Let the waiting steps report so many virtual seconds of computing, or none where it hides them."""
        now = asyncio.get_running_loop().time()
        for work in self._backlog:
            if self.malice == "hidden half":
                work.arrived = now
            else:
                work.compute_seconds += seconds

    def seconds(self) -> float:
        """The virtual seconds that the next batch takes, roughly."""
        if (seconds := step_seconds(self.malice)) is not None:
            return seconds
        if not self._backlog:  # rows are copied
            return self.slow_factor * self.seconds_per_layer
        layers = max(len(work.rows[0].cache.layers) for work in self._backlog)
        tokens = min(512, sum(work.tokens - work.done_tokens for work in self._backlog))
        return self.slow_factor * layers * (self.seconds_per_layer + tokens * self.seconds_per_layer_token)


class SimComputeThread:
    """Stands in for p2pinfer.server.compute.compute_thread.ComputeThread."""

    busy_seconds = 0.0

    def __init__(self, batcher: SimBatcher, loop: asyncio.AbstractEventLoop) -> None:
        self._batcher = batcher
        self._loop = loop
        self._inbox: deque[Callable[[], object]] = deque()
        self._watched: dict[SimLane, Callable[[SimLane], None]] = {}
        self._due = False
        self._computing = False

    def __enter__(self) -> SimComputeThread:
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._watched:
            lane.close()

    async def wait_failed(self) -> NoReturn:
        await self._loop.create_future()
        raise AssertionError

    def call(self, work: Callable[..., object], *arguments: object) -> None:
        self._inbox.append(partial(work, *arguments))
        self._wake()

    def ask(self, question: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = self._loop.create_future()

        def on_thread() -> None:
            try:
                result = question(*arguments)
            except Refused as refused:
                self.tell(_settle, answer, partial(answer.set_exception, refused))
            else:
                self.tell(_settle, answer, partial(answer.set_result, result))

        self.call(on_thread)
        return answer

    def tell(self, callback: Callable[..., object], *arguments: object) -> None:
        self._loop.call_soon(callback, *arguments)

    def watch(self, lane: SimLane, when_readable: Callable[[SimLane], None]) -> None:
        if lane not in self._watched:
            assert lane.fileno() >= 0, "a closed lane is watched"
            self._watched[lane] = when_readable
            lane.socket.on_readable = self._wake
            self._wake()

    def unwatch(self, lane: SimLane) -> None:
        if self._watched.pop(lane, None) is not None:
            lane.socket.on_readable = None

    def _wake(self) -> None:
        if not self._due and not self._computing:
            self._due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._due = False
        if self._computing:
            return
        while self._inbox:
            self._inbox.popleft()()
        for lane, when_readable in list(self._watched.items()):
            if self._watched.get(lane) is when_readable and lane.socket.readable:
                when_readable(lane)
        if self._batcher.depth:
            self._computing = True
            seconds = self._batcher.seconds()
            if seconds < math.inf:
                self._loop.call_later(seconds, self._computed, seconds)
        elif self._inbox or any(lane.socket.readable for lane in self._watched):
            self._wake()

    def _computed(self, seconds: float) -> None:
        self._computing = False
        self._batcher.took(seconds)
        self._batcher.run()
        self._wake()


def _settle(answer: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    if not answer.done():
        settle()
