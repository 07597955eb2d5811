"""The API's addresses: state, history, events, receipts, metrics, healthz."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.source import HealthSource, Submission
from p2pinfer.health.snapshot.state import HealthState, Sample
from p2pinfer.health.web.events import Events, EventStream
from p2pinfer.health.web.problems import ProblemAnswer, RequestError
from p2pinfer.health.web.receipts import Intake
from p2pinfer.health.web.snapshots import Snapshots
from p2pinfer.http.answers import JSON, json_answer
from p2pinfer.http.body import Body
from p2pinfer.http.routes import get
from p2pinfer.http.sources import source_of_request


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthz:
    """Whether this page is up to date."""

    ok: bool
    fresh: bool  # the page has read the swarm lately
    age_seconds: float | None  # of the newest snapshot; null: unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The last hours of one model."""

    model: str
    hours: float
    samples: tuple[Sample, ...]  # oldest first, at most 300


def add_api(app: FastAPI, source: HealthSource, snapshots: Snapshots, events: Events) -> None:
    """Register them."""
    intake = Intake(source)
    problems = {"model": ProblemAnswer}

    @get(app, "/api/v1/state", model=HealthState)
    async def state(request: Request) -> Response:
        """The newest snapshot, with an ETag: everything that the page shows, except history."""
        return snapshots.current.json.answer(request)

    @get(app, "/api/v1/history", model=History)
    async def history(
        request: Request,
        model: Annotated[str, Query(pattern="^[0-9a-f]{64}$", description="the model's manifest hash")],
        hours: Annotated[float, Query(ge=0.1, le=192, allow_inf_nan=False)] = 24.0,
    ) -> Response:
        """The last hours of a model, at most 300 points. No points for an unknown model."""
        samples = [_finite(sample) for sample in source.history(model, hours)]
        text = json.dumps({"model": model, "hours": hours, "samples": samples}, allow_nan=False)
        return Body.of(text, JSON).answer(request)

    @get(
        app,
        "/api/v1/events",
        responses={200: {"content": {"text/event-stream": {}}}, 503: {**problems, "description": "Full"}},
    )
    async def listen(request: Request) -> Response:
        """Server-sent events: `snapshot` with an id for each new snapshot. Then fetch the state."""
        if not events.has_place_for(source_of_request(request.scope)):
            raise RequestError(
                status=503,
                error="There are too many listeners.",
                what_to_do="Poll /api/v1/state now and then, with If-None-Match.",
            )
        return EventStream(events)

    @app.post(
        "/api/v1/receipts",
        response_model=Submission,
        responses=dict.fromkeys((400, 408, 413, 429, 503), problems),
        openapi_extra={
            "requestBody": {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}
        },
    )
    async def receipts(request: Request) -> Submission:
        """Submit receipts for the leaderboard: a file from `python -m p2pinfer.owner export`, at most 8 MB.

        `curl --data-binary @FILE http://.../api/v1/receipts`
        """
        return await intake.take(request)

    @get(app, "/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def metrics(request: Request) -> Response:
        """The state for Prometheus."""
        return snapshots.current.metrics.answer(request)

    @get(app, "/healthz", model=Healthz, responses={503: {"model": Healthz, "description": "Too old"}})
    async def healthz() -> Response:
        """Whether this page works. 503 if its snapshot is older than 120 s."""
        age = snapshots.age_seconds()
        is_ok = age <= words.OLD_SECONDS
        answer = Healthz(
            ok=is_ok, fresh=source.state().fresh, age_seconds=round(age, 1) if math.isfinite(age) else None
        )
        return json_answer(asdict(answer), status=200 if is_ok else 503)


def _finite(sample: Sample) -> dict[str, float | None]:
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in asdict(sample).items()
    }
