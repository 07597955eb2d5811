"""The messages on a tunnel's streams. Pure but for `read_message`, for the first ones.

Each has a header of 13 bytes, big-endian: kind (u8), offset (u64), length of the body (u32).

| kind    | from     | offset                  | body                     |
|---------|----------|-------------------------|--------------------------|
| OPEN    | dialler  | 0                       | id of a new tunnel       |
| RESUME  | dialler  | what it has received    | id of a tunnel           |
| READY   | acceptor | what it has received    |                          |
| REFUSED | acceptor | a number of `Refusal`   |                          |
| DATA    | both     | of the first byte       | 1 to 65,536 bytes        |
| END     | both     | behind the last byte    |                          |
| ACK     | both     | what it has received    |                          |
| CLOSE   | both     | 0                       |                          |

Offsets count the bytes of one direction from its beginning. The end counts as one byte more. CLOSE says that
the tunnel is over, well or not, and is answered by CLOSE.
"""

from __future__ import annotations

import asyncio
import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple

from p2pinfer.errors import ProtocolError

ID_BYTES = 16
MOST_BYTES = 64 * 1024  # in one DATA message
_HEADER = struct.Struct(">BQI")


class Kind(enum.IntEnum):
    """What a message is."""

    OPEN = 1
    RESUME = 2
    READY = 3
    REFUSED = 4
    DATA = 5
    END = 6
    ACK = 7
    CLOSE = 8


class Refusal(enum.IntEnum):
    """Why a stream isn't taken."""

    UNKNOWN = 1  # no tunnel of this peer has this id, or no longer
    FULL = 2  # as many tunnels as this side takes are there
    NO_SERVICE = 3  # nothing listens behind the tunnel
    IN_USE = 4  # a new tunnel has the id of another one


class Message(NamedTuple):
    """A message as it was read; its length fits its kind."""

    kind: Kind
    offset: int
    body: bytes


_BODY_BYTES = {
    Kind.OPEN: (ID_BYTES, ID_BYTES),
    Kind.RESUME: (ID_BYTES, ID_BYTES),
    Kind.DATA: (1, MOST_BYTES),
}


def encode(kind: Kind, offset: int = 0, body: bytes | memoryview = b"") -> bytes:
    """The bytes of a message."""
    return b"".join((_HEADER.pack(kind, offset, len(body)), body))


def _check(number: int, length: int) -> Kind:
    try:
        kind = Kind(number)
    except ValueError as error:
        raise ProtocolError(f"a tunnel has no message of kind {number}") from error
    least, most = _BODY_BYTES.get(kind, (0, 0))
    if not least <= length <= most:
        raise ProtocolError(f"a message {kind.name} of a tunnel has {least} to {most} bytes, not {length}")
    return kind


class Parser:
    """Cuts what comes on a stream into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = 0  # bytes in `_rest`, before it is looked at again

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete now. Raises ProtocolError for what can't be one, before its body."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        start, size = 0, len(data)
        while size - start >= _HEADER.size:
            number, offset, length = _HEADER.unpack_from(data, start)
            kind = _check(number, length)
            body = start + _HEADER.size
            if size < body + length:
                self._needed = _HEADER.size + length
                break
            start = body + length
            yield Message(kind, offset, data[body:start])
        else:
            self._needed = _HEADER.size
        self._rest += data[start:]


async def read_message(reader: asyncio.StreamReader) -> Message:
    """Read one message and nothing behind it. Raises ProtocolError, before its body is read; EOFError."""
    number, offset, length = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    kind = _check(number, length)
    return Message(kind, offset, await reader.readexactly(length) if length else b"")
