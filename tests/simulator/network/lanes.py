"""Lanes over simulated connections: the interface of wire/lanes.py, frame by frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count

from p2pinfer.errors import ProtocolError
from p2pinfer.wire.hello import HELLO_BYTES
from p2pinfer.wire.steps import step_id_of
from tests.simulator.clock import VirtualLoop
from tests.simulator.network.sockets import Socket

_descriptors = count(3)


class SimLane:
    """One end of a lane."""

    is_tunnelled = False
    host = ""
    sources = ()
    room_bytes: int | None = None
    partial_bytes = lacks_room_bytes = 0  # a frame comes whole
    unsent_bytes = 0

    def __init__(self, socket: Socket, loop: VirtualLoop, twice: Callable[[], bool]) -> None:
        """`twice()` is asked for every numbered step or result whether it is sent twice."""
        self.max_frame_bytes = HELLO_BYTES
        self.socket = socket
        self._twice = twice
        self._loop = loop
        self._unsent: deque[bytes] = deque()
        self._descriptor = next(_descriptors)
        loop.files[self._descriptor] = self

    def fileno(self) -> int:
        return self._descriptor

    @property
    def on_writable(self) -> Callable[[], None] | None:
        return self.socket.on_writable

    @on_writable.setter
    def on_writable(self, callback: Callable[[], None] | None) -> None:
        self.socket.on_writable = callback

    @property
    def writable(self) -> bool:
        """True if `flush` could write something, or would raise because the connection is gone."""
        size = len(self._unsent[0]) if self._unsent else 1
        return self.socket.ended == "reset" or self.socket.has_room(size)

    def send(self, frame: bytes) -> bool:
        assert self._descriptor >= 0, "a closed lane is written to"
        self._unsent.append(frame)
        if len(frame) != HELLO_BYTES and step_id_of(frame) and self._twice():
            self._unsent.append(frame)
        return self.flush()

    def flush(self) -> bool:
        while self._unsent:
            if not self.socket.has_room(len(self._unsent[0])) and self.socket.ended != "reset":
                return False
            frame = self._unsent.popleft()
            self.socket.push(frame, len(frame))
        return True

    def receive(self) -> bytes | None:
        frame = self.socket.take()
        assert frame is None or isinstance(frame, bytes)
        if frame is not None and len(frame) > self.max_frame_bytes:
            raise ProtocolError(f"a frame of {len(frame)} bytes, at most {self.max_frame_bytes} are taken")
        return frame

    def close(self) -> None:
        if self._descriptor >= 0:
            self._loop._writers.pop(self._descriptor, None)  # a selector forgets closed sockets, too
            del self._loop.files[self._descriptor]
            self._descriptor = -1
            self.socket.close()
