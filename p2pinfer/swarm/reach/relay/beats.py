"""The beats by which both ends of a reservation know that the other end lives."""

from __future__ import annotations

import asyncio

from p2pinfer.errors import ProtocolError
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay.framing import read_message, write_message
from p2pinfer.swarm.reach.relay.streams import BEAT_SECONDS, SILENCE_SECONDS
from p2pinfer.tasks import first_of


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
