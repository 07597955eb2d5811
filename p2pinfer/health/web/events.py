"""Server-sent events: who listens is told that there is a new snapshot, and then fetches it.

Only the snapshot's id is sent. The page is rendered once and lies compressed in memory: who fetches it costs
no more than who is sent it, and one that lags is never sent what is old already.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2pinfer.health.web.snapshots import Snapshots

MOST_LISTENERS = 500

_HEARTBEAT_SECONDS = 15.0
_LIFETIME_SECONDS = 900.0
"""A listener then connects anew by itself; one that has vanished without a word doesn't."""


class Events:
    """All listeners."""

    def __init__(
        self,
        snapshots: Snapshots,
        *,
        most_listeners: int = MOST_LISTENERS,
        heartbeat_seconds: float = _HEARTBEAT_SECONDS,
    ) -> None:
        self._snapshots = snapshots
        self._most_listeners = most_listeners
        self._heartbeat_seconds = heartbeat_seconds
        self._closing = asyncio.Event()
        self.listeners = 0

    @property
    def is_full(self) -> bool:
        """True if nobody else can listen."""
        return self.listeners >= self._most_listeners

    def close(self) -> None:
        """End all streams, and those to come."""
        self._closing.set()

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """What one listener is sent: the newest snapshot at once, then each as it comes."""
        yield b"retry: 5000\n\n"
        known = ""
        closing = asyncio.create_task(self._closing.wait())
        try:
            while not self._closing.is_set():
                newer = asyncio.create_task(self._snapshots.wait_other(known))
                try:
                    await asyncio.wait(
                        {newer, closing},
                        timeout=self._heartbeat_seconds,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if newer.done():
                        known = newer.result().id
                        yield _snapshot_message(known)
                    elif not closing.done():
                        yield b": still here\n\n"
                finally:
                    newer.cancel()
        finally:
            closing.cancel()


class EventStream(Response):
    """One listener's answer. Ends when the listener leaves, the page's process does, or its time is up."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, *, lifetime_seconds: float = _LIFETIME_SECONDS) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._lifetime_seconds = lifetime_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until one of the three."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        self._events.listeners += 1
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_until_disconnect(receive))
        try:
            await asyncio.wait(
                {sending, leaving}, timeout=self._lifetime_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._events.listeners -= 1
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if not leaving.cancelled():  # nobody is there to be told that it ends
            return
        await send({"type": "http.response.body", "body": b""})

    async def _send_all(self, send: Send) -> None:
        async with contextlib.aclosing(self._events.messages()) as messages:
            async for message in messages:
                await send({"type": "http.response.body", "body": message, "more_body": True})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _snapshot_message(snapshot_id: str) -> bytes:
    data = json.dumps({"id": snapshot_id, "now": round(time.time(), 3)})
    return f"event: snapshot\nid: {snapshot_id}\ndata: {data}\n\n".encode()
