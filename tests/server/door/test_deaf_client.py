"""A client whose HTTP/2 window is closed: nothing can be sent to it, and it holds up nobody but itself."""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2pinfer.identity import Identity
from p2pinfer.tasks import ending
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.opening import sign_opening
from tests.fakes import MODEL, fake_swarm
from tests.server.wire_client import until

_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_ACK = _END_STREAM = 1
_END_HEADERS = 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header, neither indexed nor compressed."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


@asynccontextmanager
async def deaf_call(port: int, method: str, message: bytes) -> AsyncIterator[None]:
    """A call on a connection that takes frames of control, and no data."""
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    headers = {
        ":method": "POST",
        ":scheme": "https",
        ":path": method,
        ":authority": "p2pinfer",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    writer.write(frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    writer.write(frame(_HEADERS, _END_HEADERS, 1, b"".join(literal(*one) for one in headers.items())))
    writer.write(frame(_DATA, _END_STREAM, 1, b"\x00" + struct.pack(">I", len(message)) + message))
    try:
        async with ending(asyncio.create_task(_answer(reader, writer))):
            yield
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags = head[3], head[4]
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            writer.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))


async def test_a_session_whose_client_reads_nothing_ends_when_it_is_idle():
    """Else its cache would be taken for as long as the client likes."""
    async with fake_swarm([Span(0, 2)], idle_seconds=0.5) as swarm:
        [member] = swarm.members
        terms = pb.Terms(
            session_id=os.urandom(16),
            server=member.peer_id,
            model=MODEL,
            numerics="fake-1",
            first_layer=0,
            end_layer=2,
            rows=1,
            max_tokens=64,
            issued_at=time.time(),
            steps_key=os.urandom(32),
            control_key=os.urandom(32),
            results_key=os.urandom(32),
        )
        opening = sign_opening(terms, Identity.ephemeral()).SerializeToString()
        async with ending(asyncio.create_task(member.sessions.expire_forever())):
            async with deaf_call(member.port, "/p2pinfer.wire.Inference/Session", opening):
                await until(lambda: len(member.sessions) == 1)
                await until(lambda: len(member.sessions) == 0)
                assert member.sessions.free_cache_tokens == member.sessions.cache_tokens
