"""A health page about an invented swarm, as a process: prints its port, and runs until its input ends.

The page's snapshot is replaced as often as a real page's, so that rendering is part of the measurement.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from p2pinfer.health.snapshot.source import Submission
from p2pinfer.health.snapshot.state import HealthState, Sample
from p2pinfer.health.web.app import create_app
from p2pinfer.health.web.server import page_server
from tests.health.states import large_state, make_samples

REFRESH_SECONDS = 4.0


class InventedSource:
    """A source that shows the same servers all the time, read anew every few seconds."""

    def __init__(self, servers: int) -> None:
        self._state = replace(large_state(servers), generated_at=time.time())
        shift = time.time() - make_samples()[-1].at
        self._samples = [replace(sample, at=sample.at + shift) for sample in make_samples(300)]

        self._newer = asyncio.Event()

    def state(self) -> HealthState:
        """The newest snapshot."""
        return self._state

    def history(self, model: str, hours: float) -> Sequence[Sample]:
        """The same history for every model."""
        return self._samples

    async def wait_newer(self, than: float) -> HealthState:
        """The snapshot that `refresh_forever` made last."""
        while self._state.generated_at <= than:
            await self._newer.wait()
        return self._state

    async def submit(self, bundle: AsyncIterator[bytes]) -> Submission:
        """Nothing is kept."""
        return Submission(taken=0, known=0, refused=())

    async def refresh_forever(self) -> None:
        """Replace the snapshot again and again, as a page that reads a real swarm does."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            self._state = replace(self._state, generated_at=time.time())
            self._newer.set()
            self._newer = asyncio.Event()


async def serve(servers: int) -> None:
    """Serve until standard input ends."""
    source = InventedSource(servers)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        server = page_server(create_app(source))
        refreshing = asyncio.create_task(source.refresh_forever())
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        print(listener.getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        refreshing.cancel()
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
