"""The page's web application: what is asked where, and what it is answered with.

`create_app(source)` is all that others need. A request never waits for the swarm, nor for a rendering: the
newest snapshot lies in memory.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from p2pinfer import __version__
from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.source import HealthSource, Submission
from p2pinfer.health.snapshot.state import HealthState, Sample
from p2pinfer.health.web.body import Body
from p2pinfer.health.web.events import Events, EventStream
from p2pinfer.health.web.page import render_api, render_problem
from p2pinfer.health.web.receipts import Intake, RequestError
from p2pinfer.health.web.security import HEADERS, SecurityHeaders
from p2pinfer.health.web.snapshots import HTML, JSON, Snapshots
from p2pinfer.health.web.static_files import static_files

_DESCRIPTION = "The state of a p2pinfer swarm, as one page sees it. Most of it is servers' own word."
_RETRY_SECONDS = 30

_Answer = TypeVar("_Answer", bound=Callable[..., Awaitable[Response]])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemAnswer:
    """Why a request failed."""

    error: str
    what_to_do: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthz:
    """Whether this page can be believed."""

    ok: bool
    fresh: bool  # the swarm could be read lately
    age_seconds: float | None  # of the newest snapshot; null: it doesn't say


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A model's last hours."""

    model: str
    hours: float
    samples: tuple[Sample, ...]  # oldest first, at most 300


def create_app(
    source: HealthSource, *, most_listeners: int = 500, heartbeat_seconds: float = 15.0
) -> FastAPI:
    """The application. It follows the source while it runs (ASGI lifespan); `app.state.events.close()` ends
    event streams, which a server does before it waits for open requests."""
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
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    app = FastAPI(
        title="p2pinfer swarm health",
        description=_DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # they load scripts from elsewhere; /api says the same
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # who reads it is nobody's business
        redirect_slashes=False,  # a redirect would name the host that the request claims
    )
    app.state.events = events
    app.add_middleware(SecurityHeaders)
    _add_api(app, source, snapshots, events)
    _add_pages(app, snapshots)
    _add_problems(app)
    return app


def _add_pages(app: FastAPI, snapshots: Snapshots) -> None:
    files = static_files()

    @_get(app, "/", documented=False)
    async def page(request: Request) -> Response:
        return snapshots.current.page.answer(request)

    @cache
    def description() -> Body:
        return Body.of(render_api(app.openapi()), HTML)

    @_get(app, "/api", documented=False)
    async def api(request: Request) -> Response:
        return description().answer(request)

    @_get(app, "/static/{name}", documented=False)
    async def static(request: Request, name: str) -> Response:
        if (body := files.get(name)) is None:
            raise HTTPException(404)
        return body.answer(request)


def _add_api(app: FastAPI, source: HealthSource, snapshots: Snapshots, events: Events) -> None:
    intake = Intake(source)
    problems = {"model": ProblemAnswer}

    @_get(app, "/api/v1/state", model=HealthState)
    async def state(request: Request) -> Response:
        """All that the page shows, but its history: one snapshot, with an ETag."""
        return snapshots.current.json.answer(request)

    @_get(app, "/api/v1/history", model=History)
    async def history(
        request: Request,
        model: Annotated[str, Query(pattern="^[0-9a-f]{64}$", description="the model's manifest hash")],
        hours: Annotated[float, Query(ge=0.1, le=192, allow_inf_nan=False)] = 24.0,
    ) -> Response:
        """A model's last hours, at most 300 points; none if the model isn't known."""
        samples = [_finite(sample) for sample in source.history(model, hours)]
        text = json.dumps({"model": model, "hours": hours, "samples": samples}, allow_nan=False)
        return Body.of(text, JSON).answer(request)

    @_get(
        app,
        "/api/v1/events",
        responses={200: {"content": {"text/event-stream": {}}}, 503: {**problems, "description": "Full"}},
    )
    async def listen(request: Request) -> Response:
        """Server-sent events: `snapshot` with its id, whenever there is a new one; then fetch the state."""
        if events.is_full:
            raise RequestError(
                status=503,
                error="As many listen as can.",
                what_to_do="Ask /api/v1/state now and then; with If-None-Match that costs next to nothing.",
            )
        return EventStream(events)

    @app.post(
        "/api/v1/receipts",
        response_model=Submission,
        responses=dict.fromkeys((400, 408, 413, 503), problems),
        openapi_extra={
            "requestBody": {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}
        },
    )
    async def receipts(request: Request) -> Submission:
        """Hand in receipts for the leaderboard: a file of `python -m p2pinfer.owner export`, at most 8 MB.

        `curl --data-binary @FILE http://.../api/v1/receipts`
        """
        return await intake.take(request)

    @_get(app, "/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def metrics(request: Request) -> Response:
        """The state for Prometheus."""
        return snapshots.current.metrics.answer(request)

    @_get(app, "/healthz", model=Healthz, responses={503: {"model": Healthz, "description": "Too old"}})
    async def healthz() -> Response:
        """Whether this page works; 503 when its snapshot is older than 120 s."""
        age = snapshots.age_seconds()
        is_ok = age <= words.OLD_SECONDS
        answer = Healthz(
            ok=is_ok, fresh=source.state().fresh, age_seconds=round(age, 1) if math.isfinite(age) else None
        )
        return _json(asdict(answer), status=200 if is_ok else 503)


def _get(
    app: FastAPI,
    path: str,
    *,
    documented: bool = True,
    model: type | None = None,
    responses: dict[int | str, dict[str, Any]] | None = None,
) -> Callable[[_Answer], _Answer]:
    """Register for GET, and for HEAD, which FastAPI doesn't do by itself; the server leaves the body out."""

    def register(answer: _Answer) -> _Answer:
        app.get(path, include_in_schema=documented, response_model=model, responses=responses)(answer)
        app.head(path, include_in_schema=False, response_model=None)(answer)
        return answer

    return register


def _add_problems(app: FastAPI) -> None:
    """What went wrong is said in the page's design, or in JSON to who asks the API."""

    @app.exception_handler(RequestError)
    async def refused(request: Request, problem: RequestError) -> Response:
        headers = {"retry-after": str(_RETRY_SECONDS)} if problem.status == 503 else {}
        return _problem_json(problem.status, problem.error, problem.what_to_do, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors()[:4])
        return _problem_json(422, words.plain(said, 300), "See /api for what it takes.", {})

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> Response:
        title, detail = {
            404: (
                "Nothing here",
                "There is no such page. The swarm's health is at /, the API is described at /api.",
            ),
            405: ("Not like this", "That can't be asked with this method. The API is described at /api."),
        }.get(error.status_code, ("That did not work", str(error.detail)))
        return _problem_answer(request, error.status_code, title, detail, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        detail = "The page made a mistake, not you. Its operator finds it in the log."
        # This answer is made outside of the middleware that adds them.
        return _problem_answer(request, 500, "That did not work", detail, dict(HEADERS))


def _problem_answer(
    request: Request, status: int, title: str, detail: str, headers: dict[str, str]
) -> Response:
    if request.scope["path"].startswith("/api/"):
        return _problem_json(status, title, detail, headers)
    text = render_problem(title=title, detail=detail)
    return Response(text, status_code=status, headers=headers, media_type=HTML)


def _problem_json(status: int, error: str, what_to_do: str, headers: dict[str, str]) -> Response:
    return _json({"error": error, "what_to_do": what_to_do}, status=status, headers=headers)


def _json(content: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(content, allow_nan=False).encode(errors="replace")
    return Response(
        text, status_code=status, headers={"cache-control": "no-store", **(headers or {})}, media_type=JSON
    )


def _finite(sample: Sample) -> dict[str, float | None]:
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in asdict(sample).items()
    }
