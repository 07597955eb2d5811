"""The page's web application. `create_app(source)` is its only entrance.

A request never waits for the swarm or for rendering: the newest snapshot lies in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from p2pinfer import __version__
from p2pinfer.health.snapshot.source import HealthSource
from p2pinfer.health.web.api import add_api
from p2pinfer.health.web.demand import Demand
from p2pinfer.health.web.events import Events
from p2pinfer.health.web.problems import add_problems
from p2pinfer.health.web.rendering.api_page import render_api
from p2pinfer.health.web.snapshots import Snapshots
from p2pinfer.http.answers import HTML
from p2pinfer.http.body import Body
from p2pinfer.http.routes import get
from p2pinfer.http.security import SecurityHeaders
from p2pinfer.http.static_files import static_files
from p2pinfer.tasks import cancel_and_wait

_DESCRIPTION = "The state of a p2pinfer swarm, as one page sees it. Most figures are servers' own claims."


def create_app(
    source: HealthSource, *, most_listeners: int = 500, heartbeat_seconds: float = 15.0
) -> FastAPI:
    """The application. While it runs (ASGI lifespan), it renders each new snapshot of the source.

    `app.state.events.close()` ends the event streams. A web server calls it before it waits for open
    requests.
    """
    snapshots = Snapshots(source)
    events = Events(snapshots, most_listeners=most_listeners, heartbeat_seconds=heartbeat_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await snapshots.renew()
        following = asyncio.create_task(snapshots.renew_forever())
        try:
            yield
        finally:
            events.close()
            await cancel_and_wait(following)
            if not following.cancelled():
                following.result()

    app = FastAPI(
        title="p2pinfer swarm health",
        description=_DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # they load scripts from other sites; /api has the same content
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # readers are private
        redirect_slashes=False,  # a redirect would contain the host name that the request claims
    )
    app.state.events = events
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Demand)
    add_api(app, source, snapshots, events)
    _add_pages(app, snapshots)
    add_problems(app)
    return app


def _add_pages(app: FastAPI, snapshots: Snapshots) -> None:
    files = static_files(Path(__file__).parent / "static")

    @get(app, "/", documented=False)
    async def page(request: Request) -> Response:
        return snapshots.current.page.answer(request)

    @cache
    def description() -> Body:
        return Body.of(render_api(app.openapi()), HTML)

    @get(app, "/api", documented=False)
    async def api(request: Request) -> Response:
        return description().answer(request)

    @get(app, "/static/{name}", documented=False)
    async def static(request: Request, name: str) -> Response:
        if (body := files.get(name)) is None:
            raise HTTPException(404)
        return body.answer(request)
