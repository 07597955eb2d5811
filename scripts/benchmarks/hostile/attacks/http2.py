"""As much of HTTP/2 as a guest needs that opens streams and then sends nothing (RFC 9113, RFC 7541). Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING = 0x4, 0x6
_HEADERS = 0x1
_ACK, _END_HEADERS = 0x1, 0x4
_HEADER_BYTES = 9


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """A frame.

    >>> frame(SETTINGS, 0, 0).hex()
    '000000040000000000'
    """
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def request(stream: int, path: str) -> bytes:
    """The headers of a gRPC call whose messages never come."""
    headers = (
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "p2pinfer"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)
    return frame(_HEADERS, _END_HEADERS, stream, block)


def _text(text: str) -> bytes:
    """A string of at most 126 characters, uncompressed."""
    return bytes([len(text)]) + text.encode()


def answers(received: bytearray) -> Iterator[bytes]:
    """What has to be answered to the whole frames at the front of `received`, which are taken out of it."""
    while len(received) >= _HEADER_BYTES:
        length = int.from_bytes(received[:3], "big")
        if len(received) < _HEADER_BYTES + length:
            return
        kind, flags = received[3], received[4]
        body = bytes(received[_HEADER_BYTES : _HEADER_BYTES + length])
        del received[: _HEADER_BYTES + length]
        if kind in (SETTINGS, PING) and not flags & _ACK:
            yield frame(kind, _ACK, 0, body if kind == PING else b"")
