"""The page on a real port, in a thread of its own, with a source that a test changes."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from p2pinfer.errors import UsageError
from p2pinfer.health.snapshot.source import Submission
from p2pinfer.health.snapshot.state import HealthState, Sample
from p2pinfer.health.web.app import create_app
from p2pinfer.http.server import WebServer
from tests.health.states import NOW, make_samples


def recent_samples() -> list[Sample]:
    """An hour that ends now."""
    return [replace(sample, at=sample.at - NOW + time.time()) for sample in make_samples()]


class FakeSource:
    """Has what it is told to have. `publish` may be called from any thread."""

    def __init__(self, state: HealthState, history: Sequence[Sample] = ()) -> None:
        self.samples = list(history)
        self.received: list[bytes] = []
        self.refuse: str = ""
        self.fail_with: Exception | None = None
        self._state = state
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def state(self) -> HealthState:
        """What was published last."""
        return self._state

    def history(self, model: str, hours: float) -> Sequence[Sample]:
        """The same for every model that there is."""
        return self.samples if any(view.model == model for view in self._state.models) else ()

    async def wait_newer(self, than: float) -> HealthState:
        """The next that was published with a later time."""
        while not self._state.generated_at > than:
            waiter = (asyncio.get_running_loop(), asyncio.Event())
            self._waiting.add(waiter)
            try:
                await waiter[1].wait()
            finally:
                self._waiting.discard(waiter)
        return self._state

    async def submit(self, bundle: AsyncIterator[bytes]) -> Submission:
        """Keep what comes."""
        self.received = [part async for part in bundle]
        if self.fail_with is not None:
            raise self.fail_with
        if self.refuse:
            raise UsageError(self.refuse)
        return Submission(taken=1, known=0, refused=())

    def publish(self, state: HealthState) -> None:
        """Have another state from now on, a second newer unless it is newer already."""
        if not state.generated_at > self._state.generated_at:
            state = replace(state, generated_at=self._state.generated_at + 1.0)
        self._state = state
        for loop, event in list(self._waiting):
            loop.call_soon_threadsafe(event.set)


class Served:
    """One running page."""

    def __init__(self, server: WebServer, source: FakeSource, stop: Callable[[], None]) -> None:
        self.source = source
        self.server = server
        self.stop = stop
        self.url = f"http://127.0.0.1:{server.port}"

    def wait_for(self, word: str, *, seconds: float = 60.0) -> str:
        """The page's text, as soon as that is in it."""
        deadline = time.monotonic() + seconds
        while True:
            with urllib.request.urlopen(self.url) as answer:
                text: str = answer.read().decode()
            if word in text:
                return text
            assert time.monotonic() < deadline, f"{word!r} didn't appear"
            time.sleep(0.05)


@contextmanager
def served(
    source: FakeSource, *, most_listeners: int = 500, heartbeat_seconds: float = 15.0
) -> Iterator[Served]:
    """Serve a source until the block ends; open event streams must not delay the end."""
    app = create_app(source, most_listeners=most_listeners, heartbeat_seconds=heartbeat_seconds)
    started = threading.Event()

    class Announced(WebServer):
        async def startup(self, sockets=None) -> None:  # type: ignore[no-untyped-def]
            await super().startup(sockets)
            started.set()

    server = Announced(app, end_streams=app.state.events.close)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    assert started.wait(60.0)

    def stop() -> None:
        server.should_exit = True
        thread.join(60.0)
        assert not thread.is_alive()

    try:
        yield Served(server, source, stop)
    finally:
        stop()
