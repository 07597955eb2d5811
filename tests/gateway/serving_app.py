"""An application on a real port, in the loop of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from p2pinfer.gateway.app import create_app
from p2pinfer.gateway.settings import Settings
from p2pinfer.gateway.storage import Storage
from p2pinfer.http.listening import listen
from p2pinfer.http.server import WebServer
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.tasks import undisturbed
from tests.gateway.stand_in import StandInModel, serve


class Running:
    """A web server and a client of it."""

    def __init__(self, server: WebServer, client: httpx.AsyncClient, serving: asyncio.Task[None]) -> None:
        self.server = server
        self.client = client
        self._serving = serving

    async def stop(self) -> None:
        """Stop the server as the program does."""
        self.server.should_exit = True
        async with asyncio.timeout(30):
            await undisturbed(self._serving)


@asynccontextmanager
async def running(model: StandInModel, *, storage: Storage | None = None) -> AsyncIterator[Running]:
    """Serve a model."""
    app = create_app(Models([serve(model)]), Settings(), storage=storage)
    with listen("127.0.0.1", 0) as listener:
        server = WebServer(app, end_streams=app.state.gateway.streams.end_all)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            now = Running(server, client, serving)
            try:
                yield now
            finally:
                await now.stop()
