"""Messages on a libp2p stream: each is its length (u32, big-endian) and then its bytes."""

from __future__ import annotations

import asyncio
import struct
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from p2pinfer.errors import ProtocolError

MOST_BYTES = 4096

_LENGTH = struct.Struct(">I")
_Kind = TypeVar("_Kind", bound=Message)


def framed(message: Message) -> bytes:
    """The bytes of a message on a stream."""
    data = message.SerializeToString()
    assert len(data) <= MOST_BYTES
    return _LENGTH.pack(len(data)) + data


async def read_message(reader: asyncio.StreamReader, kind: type[_Kind]) -> _Kind:
    """Read one message. Raises ProtocolError if it is malformed, EOFError and OSError if the stream ends."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MOST_BYTES:
        raise ProtocolError(f"a message of {length} bytes: at most {MOST_BYTES} are read here")
    message = kind()
    try:
        message.ParseFromString(await reader.readexactly(length))
    except DecodeError as error:
        raise ProtocolError("a message that can't be parsed") from error
    return message
