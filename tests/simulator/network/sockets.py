"""Connections like TCP's: in order, complete, held while a path is cut, reset when an end is gone."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

_RETRANSMISSION_SECONDS = 0.3
_FIN, _RESET = object(), object()


@dataclass(slots=True, eq=False)
class Path:
    """The path of packets from one host to another."""

    loop: asyncio.AbstractEventLoop
    random: random.Random
    delay_seconds: float
    jitter_seconds: float
    bytes_per_second: float = float("inf")
    cut: bool = False
    _held: list[Pipe] = field(default_factory=list)

    def seconds(self) -> float:
        """The seconds that a packet takes now."""
        return self.delay_seconds + self.random.random() * self.jitter_seconds

    def hold(self, pipe: Pipe) -> None:
        """Keep a pipe until the path is healed; then the pipe goes on."""
        self._held.append(pipe)

    def heal(self) -> None:
        """Let packets pass again; held packets are sent anew."""
        self.cut = False
        held, self._held = self._held, []
        for pipe in held:
            pipe.retransmit(self.random.random() * _RETRANSMISSION_SECONDS + self.seconds())


class Pipe:
    """One direction of a connection."""

    def __init__(self, path: Path, deliver: Callable[[Any], None]) -> None:
        self.path = path
        self._deliver = deliver
        self._queue: deque[tuple[float, Any]] = deque()
        self._free_at = 0.0
        self._last_at = 0.0
        self._moving = False

    def push(self, item: Any, size: int) -> None:
        """Send an item after all items before it."""
        now = self.path.loop.time()
        self._free_at = max(self._free_at, now) + size / self.path.bytes_per_second
        self._last_at = max(self._last_at, self._free_at + self.path.seconds())
        self._queue.append((self._last_at, item))
        if not self._moving:
            self._moving = True
            self.path.loop.call_at(self._last_at, self._move)

    def retransmit(self, seconds: float) -> None:
        """Continue after the path was healed."""
        self.path.loop.call_later(seconds, self._move)

    def _move(self) -> None:
        if self.path.cut:
            self.path.hold(self)
            return
        now = self.path.loop.time()
        while self._queue and self._queue[0][0] <= now:
            self._deliver(self._queue.popleft()[1])
        self._moving = bool(self._queue)
        if self._moving:
            self.path.loop.call_at(self._queue[0][0], self._move)


class Socket:
    """One end of a connection. Its callbacks run in the network's loop: they may only schedule something."""

    def __init__(self, out: Path, capacity_bytes: int) -> None:
        self.arrived: deque[tuple[Any, int]] = deque()
        self.ended: Literal["", "eof", "reset"] = ""
        self.closed = False
        self.on_readable: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self._under_way_bytes = 0
        self._capacity_bytes = capacity_bytes
        self._pipe = Pipe(out, self._at_the_other_end)
        self.peer: Socket

    @classmethod
    def pair(cls, there: Path, back: Path, capacity_bytes: int) -> tuple[Socket, Socket]:
        """The two ends of a connection."""
        one, other = cls(there, capacity_bytes), cls(back, capacity_bytes)
        one.peer, other.peer = other, one
        return one, other

    @property
    def readable(self) -> bool:
        """True if `take` returns or raises something, also when the connection has ended."""
        return bool(self.arrived or self.ended)

    def has_room(self, size: int) -> bool:
        """True if the connection takes `size` bytes now; an empty connection takes any size."""
        return not self._under_way_bytes or self._under_way_bytes + size <= self._capacity_bytes

    def push(self, item: Any, size: int) -> None:
        """Send an item. Raises OSError if the connection is known to be gone."""
        if self.closed or self.ended == "reset":
            raise BrokenPipeError("the connection is gone")
        self._under_way_bytes += size
        self._pipe.push((item, size), size)

    def take(self) -> Any:
        """The next item that arrived, None if there is none yet. Raises OSError, EOFError."""
        if self.closed:
            raise OSError("it is closed here")
        if self.arrived:
            item, size = self.arrived.popleft()
            self.peer._was_taken(size)
            return item
        if self.ended == "reset":
            raise ConnectionResetError("reset by the other side")
        if self.ended:
            raise EOFError("closed by the other side")
        return None

    def close(self) -> None:
        """Close this end, as a process does, or the kernel for a process that was killed."""
        if not self.closed:
            self.closed = True
            if self.ended != "reset":
                self._pipe.push((_RESET if self.arrived else _FIN, 0), 0)
            self.on_readable = self.on_writable = None

    def reset(self) -> None:
        """Break the connection for both ends, as a machine between them can."""
        for end in (self, self.peer):
            end._end("reset")

    def _at_the_other_end(self, packet: tuple[Any, int]) -> None:
        self.peer._arrive(*packet)

    def _arrive(self, item: Any, size: int) -> None:
        if item is _RESET:
            self._end("reset")
        elif self.closed:
            if item is not _FIN:
                self._pipe.push((_RESET, 0), 0)
        elif item is _FIN:
            self._end("eof")
        else:
            self.arrived.append((item, size))
            if self.on_readable is not None:
                self.on_readable()

    def _end(self, how: Literal["eof", "reset"]) -> None:
        if self.closed or self.ended == "reset":
            return
        self.ended = how
        for callback in (self.on_readable, self.on_writable):
            if callback is not None:
                callback()

    def _was_taken(self, size: int) -> None:
        self._under_way_bytes -= size
        if self.on_writable is not None:
            self.on_writable()
