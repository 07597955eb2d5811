"""The page's web server: uvicorn, which ends event streams before it waits for open requests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from p2pinfer.tasks import undisturbed

_MOST_CONNECTIONS = 2_000
_KEEP_ALIVE_SECONDS = 20
_GRACE_SECONDS = 5
_GIVE_WAY_SECONDS = 0.0005
"""A request needs the interpreter several times. While a snapshot is rendered, each time costs this wait.
With 2,000 servers and 200 requests/s (scripts/bench_health) the 99th percentile is 14 ms instead of 139."""


class PageServer(uvicorn.Server):
    """`serve()` runs until `should_exit`. Signals are the program's business, see ../stopping.py."""

    def __init__(self, app: FastAPI, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                access_log=False,
                log_level="warning",
                server_header=False,
                lifespan="on",
                ws="none",
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self._app = app

    @property
    def port(self) -> int:
        """The port that it listens on. Valid once it has `started`."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals' handlers as they are."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve. Rendering threads give way sooner than Python's 5 ms meanwhile."""
        usual_seconds = sys.getswitchinterval()
        sys.setswitchinterval(_GIVE_WAY_SECONDS)
        try:
            await super().serve(sockets)
        finally:
            sys.setswitchinterval(usual_seconds)

    async def serve_until_cancelled(self, listener: socket.socket) -> None:
        """Serve until cancelled. Open requests have ended when this returns or raises."""
        serving = asyncio.create_task(self.serve(sockets=[listener]))
        try:
            await asyncio.wait({serving})
        finally:
            self.should_exit = True
            await undisturbed(serving)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams, which never end by themselves, then the rest."""
        self._app.state.events.close()
        await super().shutdown(sockets)
