"""Virtual time, and event loops that run in it.

Every process of the simulated swarm has a loop of its own, so that it can be stopped (it gets no turns: its
timers fire late, as after SIGCONT) or killed (it gets no more turns). All loops share one clock, and one
thread.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import threading
from asyncio import events
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""Unix time at the beginning of a run."""


_MOST_ROUNDS = 20
"""The most rounds of one process before another gets its turn."""


class DeadlockError(Exception):
    """A task waits, and no event is left that could end its wait."""


class Writable(Protocol):
    """An object whose room to write a loop can watch."""

    on_writable: Callable[[], None] | None

    @property
    def writable(self) -> bool:
        """True if a write would be accepted now."""


class HasDescriptor(Protocol):
    """A file, as selectors take it."""

    def fileno(self) -> int:
        """Its descriptor; -1 when closed."""


@dataclass(slots=True)
class Clock:
    """Seconds since the beginning. Also stands in for the module `time` in the server's and client's code."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def time(self) -> float:
        return EPOCH + self.now


class VirtualLoop(asyncio.BaseEventLoop):
    """One process's event loop. `frozen`: it gets no turns."""

    def __init__(self, clock: Clock, name: str) -> None:
        super().__init__()
        self.clock = clock
        self.name = name
        self.frozen = False
        self.files: dict[int, Writable] = {}
        self._writers: dict[int, Callable[[], None]] = {}

    def time(self) -> float:
        return self.clock.now

    def due_at(self) -> float:
        """When the loop may have work next; infinity: never. A timer that was cancelled counts too."""
        if self._ready:
            return self.clock.now
        return self._scheduled[0]._when if self._scheduled else math.inf

    def turn(self) -> None:
        """Run what is due, and what follows from it, as BaseEventLoop does, but without a selector."""
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0]._when <= self.clock.now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                ready.append(handle)
        self._thread_id = threading.get_ident()
        events._set_running_loop(self)
        try:
            rounds = _MOST_ROUNDS
            while ready and rounds:
                rounds -= 1
                for _ in range(len(ready)):
                    handle = ready.popleft()
                    if not handle._cancelled:
                        handle._run()
        finally:
            events._set_running_loop(None)
            self._thread_id = None

    def add_writer(
        self, lane: int | HasDescriptor, callback: Callable[..., None], *arguments: object
    ) -> None:
        """Call back as long as a lane can be written to. Raises ValueError if the lane is closed."""
        descriptor = lane if isinstance(lane, int) else lane.fileno()
        if descriptor < 0:
            raise ValueError("a closed lane can't be watched")
        file = self.files[descriptor]

        def write() -> None:
            if self._writers.get(descriptor) is write and file.writable:
                callback(*arguments)
                if self._writers.get(descriptor) is write and file.writable:
                    self.call_soon(write)

        self._writers[descriptor] = write
        file.on_writable = lambda: self.call_soon(write)
        if file.writable:
            self.call_soon(write)

    def remove_writer(self, lane: int | HasDescriptor) -> bool:
        """Stop the calls. A closed lane is found as an object, not by its descriptor, as in a selector."""
        descriptor = lane if isinstance(lane, int) else lane.fileno()
        if descriptor < 0 and lane is descriptor:
            raise ValueError("a closed lane can't be unwatched")
        return self._writers.pop(descriptor, None) is not None

    def _check_closed(self) -> None:
        """After the end of a run, move everything that is still scheduled to never."""

    def _write_to_self(self) -> None:
        pass


def in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """Run it alone on a clock that jumps to whatever happens next. Raises DeadlockError if nothing can."""
    clock = Clock()
    loop = VirtualLoop(clock, "test")
    task = loop.create_task(work)
    while not task.done():
        clock.now = max(clock.now, loop.due_at())
        if clock.now == math.inf:
            raise DeadlockError
        loop.turn()
    return task.result()
