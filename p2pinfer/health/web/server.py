"""The web server of the page: uvicorn, which ends event streams before it waits for requests to end."""

from __future__ import annotations

import socket
import sys

import uvicorn
from fastapi import FastAPI

_MOST_CONNECTIONS = 2_000
_KEEP_ALIVE_SECONDS = 20
_GRACE_SECONDS = 5
_GIVE_WAY_SECONDS = 0.0005
"""A request takes the interpreter several times; while a snapshot is rendered it waits for so long each time.
With 2,000 servers and 200 requests/s (scripts/bench_health) the 99th percentile is 14 ms instead of 139."""


class PageServer(uvicorn.Server):
    """`await serve()`, or `serve(sockets=[listener])`, runs it until `should_exit` or a signal."""

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
        """Where it listens, once `started`."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and have whoever renders give way sooner than Python's threads do by themselves (5 ms)."""
        usual_seconds = sys.getswitchinterval()
        sys.setswitchinterval(_GIVE_WAY_SECONDS)
        try:
            await super().serve(sockets)
        finally:
            sys.setswitchinterval(usual_seconds)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what would never end by itself, then the rest."""
        self._app.state.events.close()
        await super().shutdown(sockets)
