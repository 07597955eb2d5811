"""Streams of events: signs of life while nothing comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from p2pinfer.gateway.answering.server_sent import DONE, EventStream, Streams, data_event


async def test_a_stream_that_waits_gives_signs_of_life_that_clients_skip():
    """A comment in the sense of the standard; proxies end silent connections."""
    going = asyncio.Event()
    sent: list[bytes] = []

    async def rest() -> AsyncGenerator[bytes, None]:
        await going.wait()
        yield DONE

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    async def send(message: dict[str, object]) -> None:
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        sent.append(body)
        if body.startswith(b":"):
            going.set()

    stream = EventStream(
        data_event({"first": "é"}), rest(), streams=Streams(), last_words=lambda: b"", headers={},
        heartbeat_seconds=0.01,
    )  # fmt: skip
    async with asyncio.timeout(30):
        await stream({"type": "http"}, receive, send)  # type: ignore[arg-type]
    first, *beats, done, end = sent[1:]
    assert first == 'data: {"first":"é"}\n\n'.encode()
    assert beats and all(beat.startswith(b":") and beat.endswith(b"\n\n") for beat in beats)
    assert (done, end) == (DONE, b"")
