"""Server-sent events: they announce a new snapshot, and the listener then fetches it.

Only the snapshot's id is sent. The page is rendered once and lies compressed in memory, so a fetch costs no
more than a push, and a slow listener never gets an old snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Iterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2pinfer.fairness.crowd import Crowd
from p2pinfer.fairness.sources import Source
from p2pinfer.health.web.snapshots import Snapshots
from p2pinfer.http.sources import source_of_request
from p2pinfer.tasks import ending, first_of

MOST_LISTENERS = 500

_HEARTBEAT_SECONDS = 15.0
_LIFETIME_SECONDS = 900.0
"""After this a listener connects again by itself, and a listener that vanished silently is gone."""


class Events:
    """The page's listeners."""

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
        self._crowd: Crowd[asyncio.Event] = Crowd()

    @property
    def listeners(self) -> int:
        """How many there are."""
        return len(self._crowd)

    def has_place_for(self, source: Source) -> bool:
        """True if one more may listen, perhaps instead of one of a source that has more listeners."""
        if self.listeners < self._most_listeners:
            return True
        return self._crowd.of_source(source) + 1 < self._crowd.of_source(
            self._crowd.source_of(self._crowd.first_to_go())
        )

    @contextlib.contextmanager
    def listening(self, source: Source) -> Iterator[asyncio.Event]:
        """For as long as one listens. The event is set when it has to leave."""
        leave = asyncio.Event()
        self._crowd.add(leave, source)
        if self.listeners > self._most_listeners:
            leaving = self._crowd.first_to_go()
            self._crowd.remove(leaving)
            leaving.set()
        try:
            yield leave
        finally:
            self._crowd.remove(leave)

    def close(self) -> None:
        """End all streams. Later ones end at once."""
        self._closing.set()

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Messages for one listener: the newest snapshot at once, later each new one, and heartbeats."""
        yield b"retry: 5000\n\n"
        known = ""
        while not self._closing.is_set():
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await first_of(self._snapshots.wait_other(known), self._closing.wait())
            except TimeoutError:
                yield b": still here\n\n"
                continue
            newest = self._snapshots.current.id
            if newest != known:
                known = newest
                yield _snapshot_message(known)


class EventStream(Response):
    """The answer to one listener. It ends with the listener, with the page, or after its lifetime."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, *, lifetime_seconds: float = _LIFETIME_SECONDS) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._lifetime_seconds = lifetime_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send messages until the stream ends."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        with self._events.listening(source_of_request(scope)) as leave:
            async with (
                ending(asyncio.create_task(self._send_all(send))) as sending,
                ending(asyncio.create_task(_until_disconnect(receive))) as leaving,
                ending(asyncio.create_task(_until_set(leave))) as displaced,
            ):
                await asyncio.wait(
                    {sending, leaving, displaced},
                    timeout=self._lifetime_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                has_left = leaving.done()
        if not has_left:
            await send({"type": "http.response.body", "body": b""})

    async def _send_all(self, send: Send) -> None:
        async with contextlib.aclosing(self._events.messages()) as messages:
            async for message in messages:
                await send({"type": "http.response.body", "body": message, "more_body": True})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()


def _snapshot_message(snapshot_id: str) -> bytes:
    data = json.dumps({"id": snapshot_id, "now": round(time.time(), 3)})
    return f"event: snapshot\nid: {snapshot_id}\ndata: {data}\n\n".encode()
