"""Lanes: TLS connections that carry only the steps or the results of one session.

gRPC opens sessions, reports trouble and measures. But every token crosses every hop, and a message through
gRPC wakes three threads on its way where a socket wakes one. Measured on two cores, between processes that
compute in between, for 2.4 KB each way: gRPC 0.27 to 0.4 ms, asyncio's TLS 0.2 to 0.29 ms, a thread that
reads its TLS socket itself 0.08 to 0.17 ms. So the computing thread reads its lanes itself.

A lane has one direction, one writer and one reader. In order of time it carries:

    TLS 1.3, the server's pinned certificate   ALPN says that it is a lane; see lane_handshake.py
    hello                                      which session, and that the sender may use it; see hello.py
    frames                                     to the server (STEPS), or from it (RESULTS)

Each frame, the hello too, is its length in bytes (u32, little-endian) and then its bytes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Literal

from p2pinfer.errors import ProtocolError
from p2pinfer.fairness.sources import Source
from p2pinfer.wire.hello import HELLO_BYTES
from p2pinfer.wire.traffic import traffic_of

_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 18


class Lane:
    """One end of a lane. No method blocks; only one thread at a time may use it."""

    def __init__(self, sock: ssl.SSLSocket, *, max_frame_bytes: int = HELLO_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.room_bytes: int | None = None
        """A longer frame isn't read to its end until this has grown; None: no frame has to wait."""
        self.sources: tuple[Source, ...] = ()
        """Where it comes from, for who shares things out; none: `host` alone says it."""
        self._socket = sock
        self._traffic = traffic_of(sock)
        self._received: bytes | bytearray = b""
        self._unsent = b""
        self._sent = 0

    def fileno(self) -> int:
        """The file descriptor, for selectors; -1 when closed."""
        return self._socket.fileno()

    @property
    def is_tunnelled(self) -> bool:
        """True if it leads to the other side through a tunnel of the swarm."""
        return self._socket.family == socket.AF_UNIX

    @property
    def host(self) -> str:
        """The IP address of the other side; empty if that is unknown, as behind a tunnel."""
        try:
            return "" if self.is_tunnelled else str(self._socket.getpeername()[0])
        except OSError:  # it has gone
            return ""

    @property
    def partial_bytes(self) -> int:
        """How much there is of a frame that has come in part."""
        return len(self._received)

    @property
    def unsent_bytes(self) -> int:
        """How much of what was to be sent the network hasn't taken. Any thread may ask."""
        return max(0, len(self._unsent) - self._sent)

    @property
    def lacks_room_bytes(self) -> int:
        """The length of the frame that has come in part, if it is longer than `room_bytes`; else 0."""
        if self.room_bytes is None or len(self._received) < _LENGTH.size:
            return 0
        (length,) = _LENGTH.unpack_from(self._received)
        return int(length) if length > self.room_bytes else 0

    def send(self, frame: bytes) -> bool:
        """Send a frame, after what is still unsent. True: nothing is left to send; False: call `flush` later.

        Raises OSError if the connection is broken.
        """
        framed = _LENGTH.pack(len(frame)) + frame
        self._unsent = self._unsent[self._sent :] + framed if self._unsent else framed
        self._sent = 0
        return self.flush()

    def flush(self) -> bool:
        """Send what the network takes now. True: nothing is left to send. Raises OSError as `send` does."""
        view = memoryview(self._unsent)
        try:
            while self._sent < len(view):
                sent = self._socket.send(view[self._sent :])
                self._sent += sent
                self._traffic.count_sent(sent)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return False
        self._unsent, self._sent = b"", 0
        return True

    def receive(self) -> bytes | None:
        """The next frame; None if it hasn't arrived completely, or is longer than there is room for.

        Raises OSError if the connection is broken, EOFError if the other side closed it, and ProtocolError
        for a frame longer than `max_frame_bytes`.
        """
        while True:
            received = self._received
            if len(received) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(received)
                if length > self.max_frame_bytes:
                    raise ProtocolError(
                        f"a frame of {length} bytes: at most {self.max_frame_bytes} are accepted here"
                    )
                end = _LENGTH.size + length
                if len(received) >= end:
                    self._received = received[end:]
                    with memoryview(received) as whole:
                        return bytes(whole[_LENGTH.size : end])
                if self.room_bytes is not None and length > self.room_bytes:
                    return None
            try:
                data = self._socket.recv(_READ_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None
            if not data:
                raise EOFError("the other side closed the lane")
            self._traffic.count_received(len(data))
            # Most reads are exactly one frame; only a frame that comes in parts is joined, in place.
            if not received:
                self._received = data
            elif isinstance(received, bytearray):
                received += data
            else:
                self._received = bytearray(received) + data

    def close(self) -> None:
        """Close the connection, and forget what came or went in part; closing twice is harmless.

        A session may name its lane long after the lane has ended.
        """
        self._socket.close()
        self._received, self._unsent, self._sent = b"", b"", 0


async def deliver(lane: Lane, frame: bytes, *, stall_seconds: float | None = None) -> None:
    """Send a whole frame, and wait until the network has taken it.

    Raises OSError if the connection is broken, TimeoutError if the network took nothing for `stall_seconds`.
    """
    sent = lane.send(frame)
    while not sent:
        async with asyncio.timeout(stall_seconds):
            await ready(lane, "write")
        sent = lane.flush()


async def ready(sock: socket.socket | Lane, what: Literal["read", "write"]) -> None:
    """Wait until a socket, or the socket of a lane, can be read from or written to."""
    loop = asyncio.get_running_loop()
    add, remove = (
        (loop.add_reader, loop.remove_reader) if what == "read" else (loop.add_writer, loop.remove_writer)
    )
    possible = loop.create_future()
    add(sock, lambda: None if possible.done() else possible.set_result(None))
    try:
        await possible
    finally:
        remove(sock)
