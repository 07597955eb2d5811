"""Server-sent events (WHATWG HTML, 9.2): how chunks travel, and how a stream ends when its reader leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from p2pinfer.tasks import cancel_and_wait

DONE = b"data: [DONE]\n\n"

_HEARTBEAT = b": waiting\n\n"
_HEARTBEAT_SECONDS = 15.0


def data_event(content: Mapping[str, Any]) -> bytes:
    """An event without a name."""
    return b"data: " + _as_bytes(content) + b"\n\n"


def named_event(content: Mapping[str, Any]) -> bytes:
    """An event that is named as its `type`."""
    return f"event: {content['type']}\n".encode() + data_event(content)


class Streams:
    """The streams that are being sent, so that all can be ended when the gateway stops."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    def end_all(self) -> None:
        """Let every stream, also a later one, send its last words and end."""
        self._stopping.set()

    async def wait_end(self) -> None:
        """Return when the gateway stops."""
        await self._stopping.wait()


class EventStream(Response):
    """An answer in events. Its generator is closed as soon as the client leaves.

    A slow client is waited for: the web server's `send` returns when its buffer has room.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        first: bytes,
        rest: AsyncGenerator[bytes, None],
        *,
        streams: Streams,
        last_words: Callable[[], bytes],
        headers: Mapping[str, str],
        heartbeat_seconds: float = _HEARTBEAT_SECONDS,
    ) -> None:
        """`last_words` makes what is sent if the gateway stops before the end."""
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no", **headers})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._streams = streams
        self._last_words = last_words
        self._heartbeat_seconds = heartbeat_seconds
        self._sent = 0
        self._is_sending = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client leaves or the gateway stops."""
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_until_disconnect(receive))
        stopping = asyncio.create_task(self._streams.wait_end())
        try:
            await self._wait_first({sending, leaving, stopping}, send)
            must_say = stopping.done() and not sending.done() and not leaving.done()
            if sending.done():
                sending.result()
        finally:
            await cancel_and_wait(sending, leaving, stopping)
            await self._rest.aclose()
        if must_say:
            await send(_body(self._last_words(), more=True))
            await send(_body(b"", more=False))

    async def _wait_first(self, tasks: set[asyncio.Task[None]], send: Send) -> None:
        """Wait until one of the tasks has ended, and send a sign of life when there is long nothing else.

        An event is one message of ASGI, so a sign of life can't come into the middle of one.
        """
        seen = -1
        while not (
            await asyncio.wait(tasks, timeout=self._heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED)
        )[0]:
            if self._sent == seen and not self._is_sending:
                await send(_body(_HEARTBEAT, more=True))
            seen = self._sent

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send(_body(self._first, more=True))
        self._is_sending = False
        async for event in self._rest:
            self._is_sending = True
            await send(_body(event, more=True))
            self._sent += 1
            self._is_sending = False
        self._is_sending = True
        await send(_body(b"", more=False))


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def _as_bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
