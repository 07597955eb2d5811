"""The web server: uvicorn, which ends streams before it waits for open requests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from p2pinfer.http.connections.patience import DEADLINES, Deadlines
from p2pinfer.http.connections.places import Places
from p2pinfer.http.connections.protocol import BoundedHttp
from p2pinfer.http.connections.proxies import Network
from p2pinfer.http.listening import BACKLOG
from p2pinfer.tasks import undisturbed

MOST_CONNECTIONS = 2_000

_KEEP_ALIVE_SECONDS = 20
_GRACE_SECONDS = 5
_LOOK_TICKS = 5  # uvicorn's, of a tenth of a second


class WebServer(uvicorn.Server):
    """`serve()` runs until `should_exit`. Signals are the program's business, see stopping.py.

    Of more than `most_connections` some are closed, see connections/places.py; `proxies` are addresses of
    reverse proxies. When it stops it calls `end_streams` first: streams never end by themselves. While it
    runs the interpreter goes from thread to thread every `give_way_seconds`; None leaves that as it is.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        end_streams: Callable[[], None],
        give_way_seconds: float | None = None,
        most_connections: int = MOST_CONNECTIONS,
        deadlines: Deadlines = DEADLINES,
        proxies: tuple[Network, ...] = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        places: Places[BoundedHttp] = Places(most_connections)
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                access_log=False,
                log_level="error",  # it has a warning for each malformed request of anybody
                server_header=False,
                lifespan="on",
                http=partial(BoundedHttp, places=places, deadlines=deadlines, proxies=proxies),  # type: ignore[arg-type]
                ws="none",
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self._end_streams = end_streams
        self._give_way_seconds = give_way_seconds

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
        """Serve until `should_exit`."""
        usual_seconds = sys.getswitchinterval()
        sys.setswitchinterval(self._give_way_seconds or usual_seconds)
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

    async def on_tick(self, counter: int) -> bool:
        """Close the connections whose time is over."""
        if counter % _LOOK_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                assert isinstance(connection, BoundedHttp)
                connection.look(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then the rest."""
        self._end_streams()
        await super().shutdown(sockets)
