"""Lanes: TLS connections that carry a session's steps or results, and nothing else.

gRPC opens sessions, tells of trouble and measures; but every token crosses every hop, and a message
through gRPC wakes three threads on its way where a socket wakes one. Measured on two cores between
processes that compute in between, for 2.4 KB: gRPC 0.27 to 0.4 ms each way, asyncio's TLS 0.2 to 0.29, a
thread that reads its TLS socket itself 0.08 to 0.17. So the thread that computes reads its lanes itself.

A lane has one direction, one writer and one reader. The side that dials says what it wants:

    "p2pinfer lane 2\\n"                        in the clear: the port is gRPC's, whose TLS begins with 0x16
    TLS 1.3, the server's pinned certificate   from here on
    hello: role u8, session id 16, key 32      the key was given to the server in the session's opening
    frames                                     to the server (STEPS), or from it (RESULTS)

Each frame, the hello too, is its length (u32, little-endian) and so many bytes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, Literal

from p2pinfer.errors import HopFailedError, ProtocolError
from p2pinfer.types import SESSION_ID_BYTES
from p2pinfer.wire.certificates import SERVER_NAME, pinned_context
from p2pinfer.wire.dialling import Address, Tunnel, first_way
from p2pinfer.wire.opening import KEY_BYTES

PREAMBLE = b"p2pinfer lane 2\n"
HELLO_BYTES = 1 + SESSION_ID_BYTES + KEY_BYTES

_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 18


class Traffic:
    """Bytes of this process so far, over connections of one kind.

    Threads count without a lock: at worst one of two at the same moment isn't counted.
    """

    __slots__ = ("received_bytes", "sent_bytes")

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0

    def count_sent(self, number: int) -> None:
        """So many went out."""
        self.sent_bytes += number

    def count_received(self, number: int) -> None:
        """So many came in."""
        self.received_bytes += number


DIRECT = Traffic()
"""With other machines. Of lanes it is what TLS carries; TLS, TCP and IP add a tenth to a decode step."""

TUNNELLED = Traffic()
"""With p2pd, which carries it on."""


def traffic_of(sock: socket.socket) -> Traffic:
    """Where the bytes of a connection are counted. Unix sockets lead to p2pd."""
    return TUNNELLED if sock.family == socket.AF_UNIX else DIRECT


class Role(IntEnum):
    """What the side that dials wants a lane for."""

    STEPS = 1
    RESULTS = 2


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of a lane."""

    role: Role
    session_id: bytes
    key: bytes

    def pack(self) -> bytes:
        """Its bytes."""
        return bytes([self.role]) + self.session_id + self.key

    @classmethod
    def read(cls, frame: bytes) -> Hello:
        """Raises ProtocolError if it is none."""
        if len(frame) != HELLO_BYTES or frame[0] not in Role.__members__.values():
            raise ProtocolError("a lane begins with its hello")
        return cls(Role(frame[0]), frame[1 : 1 + SESSION_ID_BYTES], frame[1 + SESSION_ID_BYTES :])


class Lane:
    """One end of a lane. Nothing blocks; one thread at a time uses it."""

    def __init__(self, sock: ssl.SSLSocket, *, max_frame_bytes: int = HELLO_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self._socket = sock
        self._traffic = traffic_of(sock)
        self._received: bytes | bytearray = b""
        self._unsent = b""
        self._sent = 0

    def fileno(self) -> int:
        """For selectors; -1 when closed."""
        return self._socket.fileno()

    def send(self, frame: bytes) -> bool:
        """Send a frame, after what is still unsent. True: all of it is out; False: call `flush` later.

        Raises OSError if the connection is gone.
        """
        framed = _LENGTH.pack(len(frame)) + frame
        self._unsent = self._unsent[self._sent :] + framed if self._unsent else framed
        self._sent = 0
        return self.flush()

    def flush(self) -> bool:
        """Send what the network takes now. True: nothing is left."""
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
        """The next frame; None if it isn't all there yet.

        Raises OSError if the connection is gone, EOFError if the other side closed it, and
        ProtocolError for a frame longer than `max_frame_bytes`.
        """
        while True:
            received = self._received
            if len(received) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(received)
                if length > self.max_frame_bytes:
                    raise ProtocolError(
                        f"a frame of {length} bytes, at most {self.max_frame_bytes} are taken here"
                    )
                end = _LENGTH.size + length
                if len(received) >= end:
                    self._received = received[end:]
                    return bytes(received[_LENGTH.size : end])
            try:
                data = self._socket.recv(_READ_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None
            if not data:
                raise EOFError("the other side closed the lane")
            self._traffic.count_received(len(data))
            # Mostly a read is a frame; only what comes in parts is put together, in place.
            if not received:
                self._received = data
            elif isinstance(received, bytearray):
                received += data
            else:
                self._received = bytearray(received) + data

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        self._socket.close()


def is_lane(first_byte: bytes) -> bool:
    """Whether a connection that begins so is a lane (and not gRPC's TLS)."""
    return first_byte == PREAMBLE[:1]


@asynccontextmanager
async def lane_to(address: Address, tunnel: Tunnel | None, seconds: float) -> AsyncIterator[Lane]:
    """Yield a lane to a server, dialled where possible and through the tunnel where not.

    Its certificate was checked. To say hello and to close the lane is up to the caller; the block keeps
    the tunnel open. Raises HopFailedError if no way leads there, each tried for so many seconds.
    """
    try:
        context = pinned_context(address.certificate)
    except ValueError as error:
        raise HopFailedError(address.peer_id, "its record holds no valid certificate") from error
    async with AsyncExitStack() as resources:
        yield await first_way(address, tunnel, seconds, partial(_try, context, seconds), resources)


async def _try(context: ssl.SSLContext, seconds: float, target: str) -> Lane | None:
    """Connect to HOST:PORT or unix:PATH."""
    with suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(seconds):
            sock = await _connect(target)
            try:
                await asyncio.get_running_loop().sock_sendall(sock, PREAMBLE)
                return await _shake_hands(sock, context, server_side=False)
            except BaseException:
                sock.close()
                raise
    return None


async def _connect(target: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    address: Any
    if target.startswith("unix:"):
        family, address = socket.AF_UNIX, target.removeprefix("unix:")
    else:
        host, _, port = target.rpartition(":")
        found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        family, *_, address = found[0]
    sock = socket.socket(family)
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def deliver(lane: Lane, frame: bytes, *, stall_seconds: float | None = None) -> None:
    """Send a frame whole, waiting for the network wherever it has to be waited for.

    Raises OSError if the connection is gone, TimeoutError if nothing was taken for `stall_seconds`.
    """
    sent = lane.send(frame)
    while not sent:
        async with asyncio.timeout(stall_seconds):
            await ready(lane, "write")
        sent = lane.flush()


async def accept_lane(sock: socket.socket, context: ssl.SSLContext) -> Lane:
    """Take a connection whose first byte said that it's a lane. Raises OSError, ProtocolError."""
    loop = asyncio.get_running_loop()
    preamble = b""
    while len(preamble) < len(PREAMBLE):
        data = await loop.sock_recv(sock, len(PREAMBLE) - len(preamble))
        if not data:
            raise ProtocolError("a connection that ended within its preamble")
        preamble += data
    if preamble != PREAMBLE:
        raise ProtocolError("a preamble of another protocol")
    return await _shake_hands(sock, context, server_side=True)


async def _shake_hands(sock: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> Lane:
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context.wrap_socket(
        sock,
        server_side=server_side,
        server_hostname=None if server_side else SERVER_NAME,
        do_handshake_on_connect=False,
    )
    try:
        while True:
            try:
                tls.do_handshake()
                return Lane(tls)
            except ssl.SSLWantReadError:
                await ready(tls, "read")
            except ssl.SSLWantWriteError:
                await ready(tls, "write")
    except BaseException:
        tls.close()
        raise


async def ready(sock: socket.socket | Lane, what: Literal["read", "write"]) -> None:
    """Wait until a socket, or a lane's, can be read from or written to."""
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
