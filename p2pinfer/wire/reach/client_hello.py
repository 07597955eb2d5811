"""Reads the first message of TLS, the ClientHello: which name and which protocols it asks for. Pure.

The message has no secrets and no signature: it only tells to whom a connection is led. Whoever it is led to
reads it again, from its first byte. The layout is that of RFC 8446, section 4.1.2, the extensions' that of
RFC 6066 (server name) and RFC 7301 (ALPN).
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.errors import ProtocolError

MAX_CLIENT_HELLO_BYTES = 16 * 1024
"""With the headers of its records. Those of gRPC and of OpenSSL have 300 to 1,800 bytes."""

NO_APPLICATION_PROTOCOL = bytes((21, 3, 3, 0, 2, 2, 120))
"""The fatal alert of TLS for a client none of whose protocols is spoken here."""

_HANDSHAKE = 22  # type of record
_CLIENT_HELLO = 1  # type of message
_SERVER_NAME, _ALPN = 0, 16  # types of extensions
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4  # bytes
_MOST_FRAGMENT_BYTES = 1 << 14
_MOST_RECORDS = 16
"""Clients use one. Thousands of a byte each would cost more to read than to send."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client asks for."""

    server_name: bytes | None
    protocols: tuple[bytes, ...]  # of ALPN, the preferred one first


def read_client_hello(data: bytes) -> ClientHello | None:
    """Read what a connection begins with; None if the message hasn't arrived completely.

    It may come in several records, and bytes may follow it. Raises only ProtocolError, whatever the bytes
    are: as soon as they can't begin a ClientHello, or can't within MAX_CLIENT_HELLO_BYTES.
    """
    message = _message(data)
    if message is None:
        if len(data) >= MAX_CLIENT_HELLO_BYTES:
            raise _wrong(f"it has more than {MAX_CLIENT_HELLO_BYTES} bytes")
        return None
    body = _Reader(message)
    body.take(2 + 32)  # version and random
    body.vector(1)  # session id
    body.vector(2)  # cipher suites
    body.vector(1)  # compression methods
    name: bytes | None = None
    protocols: tuple[bytes, ...] = ()
    if body.is_left:
        extensions = _Reader(body.vector(2))
        seen = set()
        while extensions.is_left:
            kind, content = extensions.number(2), _Reader(extensions.vector(2))
            if kind in seen:
                raise _wrong("an extension comes twice")
            seen.add(kind)
            if kind == _SERVER_NAME:
                name = _server_name(content)
            elif kind == _ALPN:
                protocols = _protocols(content)
    if body.is_left:
        raise _wrong("something follows its extensions")
    return ClientHello(name, protocols)


def _message(data: bytes) -> bytes | None:
    """The body of the message, put together from its records; None if some of it is missing."""
    message, at = b"", 0
    for _ in range(_MOST_RECORDS):
        header = data[at : at + _RECORD_HEADER]
        if header[:1] not in (b"", bytes([_HANDSHAKE])) or header[1:2] not in (b"", b"\x03"):
            raise _wrong("a record of another kind, or of no TLS")
        if len(header) < _RECORD_HEADER:
            return None
        length = int.from_bytes(header[3:])
        if not 0 < length <= _MOST_FRAGMENT_BYTES:
            raise _wrong(f"a record of {length} bytes")
        at += _RECORD_HEADER
        message += data[at : at + length]
        at += length
        if message[:1] not in (b"", bytes([_CLIENT_HELLO])):
            raise _wrong("another message comes first")
        if len(message) >= _MESSAGE_HEADER:
            end = _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER])
            if end > MAX_CLIENT_HELLO_BYTES:
                raise _wrong(f"it has {end} bytes")
            if len(message) >= end:
                return message[_MESSAGE_HEADER:end]
        if at > len(data):
            return None
    raise _wrong(f"it comes in more than {_MOST_RECORDS} records")


def _server_name(content: _Reader) -> bytes | None:
    names = _Reader(content.vector(2))
    found = None
    while names.is_left:
        kind, name = names.number(1), names.vector(2)
        if kind == 0:
            found = name
    return found


def _protocols(content: _Reader) -> tuple[bytes, ...]:
    offered, found = _Reader(content.vector(2)), []
    while offered.is_left:
        found.append(offered.vector(1))
    return tuple(found)


class _Reader:
    """Takes bytes from the beginning; raises ProtocolError where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_left(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise _wrong("a field ends beyond it")
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count))

    def vector(self, count: int) -> bytes:
        """Bytes whose number comes before them, in `count` bytes."""
        return self.take(self.number(count))


def _wrong(detail: str) -> ProtocolError:
    return ProtocolError(f"the connection doesn't begin with a ClientHello of TLS: {detail}")
