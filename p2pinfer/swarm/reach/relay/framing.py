"""Messages on a stream: each after its length, 4 bytes big-endian. An empty message is a beat."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from p2pinfer.errors import ProtocolError, SwarmError
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay.messages import MAX_MESSAGE_BYTES
from p2pinfer.swarm.reach.relay.streams import BEAT_SECONDS, SILENCE_SECONDS
from p2pinfer.tasks import first_of

_CLOSE_SECONDS = 1.0
_LENGTH = struct.Struct(">I")
_T = TypeVar("_T")


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """Read one message.

    Raises ProtocolError for one that is too long, before it is read, and EOFError or OSError if the stream
    ends or breaks.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message has at most {MAX_MESSAGE_BYTES} bytes, not {length}")
    return await reader.readexactly(length)


async def write_message(writer: asyncio.StreamWriter, message: bytes = b"") -> None:
    """Write one message; without one, a beat. Raises OSError if the stream is broken."""
    writer.write(_LENGTH.pack(len(message)) + message)
    await writer.drain()


async def ask(stream: Stream, message: bytes, decode: Callable[[bytes], _T], seconds: float) -> _T:
    """Send a message, and read the answer with `decode`.

    Raises SwarmError if none comes within `seconds`, or one that can't be.
    """
    reader, writer = stream
    try:
        async with asyncio.timeout(seconds):
            await write_message(writer, message)
            return decode(await read_message(reader))
    except TimeoutError as error:
        raise SwarmError(f"no answer within {seconds:g} s") from error
    except (OSError, EOFError) as error:
        raise SwarmError("the stream broke before the answer") from error
    except ProtocolError as error:
        raise SwarmError(f"an answer that can't be: {error}") from error


async def until_closed(stream: Stream, seconds: float) -> None:
    """Wait until the other side has closed a stream, which it does when it has read the answer.

    p2pd may throw away what it hasn't sent yet when this side closes first.
    """
    with suppress(OSError, EOFError):  # TimeoutError is an OSError
        async with asyncio.timeout(seconds):
            while await stream[0].read(4096):
                pass


async def close_streams(*streams: Stream, flush_seconds: float = 0.0) -> None:
    """Close all streams, also if this is cancelled. What is left is sent for `flush_seconds` at most."""
    left = [writer for _, writer in streams]
    for writer in left:
        if not flush_seconds and not writer.is_closing():
            writer.transport.abort()
        writer.close()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(flush_seconds or _CLOSE_SECONDS):
                while left:
                    with suppress(OSError):
                        await left[-1].wait_closed()
                    left.pop()
    finally:
        for writer in left:  # not those that have closed: asyncio fails there in Python 3.11
            writer.transport.abort()


async def beat(stream: Stream, *, beat_seconds: float = BEAT_SECONDS) -> str:
    """Send beats and take them, until the other end is silent or gone; returns what happened, for people."""
    reader, writer = stream
    silence_seconds = SILENCE_SECONDS / BEAT_SECONDS * beat_seconds

    async def send() -> None:
        while True:
            await asyncio.sleep(beat_seconds)
            async with asyncio.timeout(silence_seconds):
                await write_message(writer)

    async def take() -> None:
        while True:
            async with asyncio.timeout(silence_seconds):
                await read_message(reader)

    try:
        await first_of(send(), take())
    except TimeoutError:
        return f"nothing was heard for {silence_seconds:g} s"
    except (OSError, EOFError):
        return "the stream has ended"
    except ProtocolError as error:
        return f"it broke the protocol: {error}"
    raise AssertionError("both directions go on until they fail")
