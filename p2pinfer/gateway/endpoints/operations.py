"""`/healthz`, `/metrics`, `/docs`: for operators and for readers."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel

from p2pinfer.gateway.docs_page.page import FOLDER, render_docs
from p2pinfer.gateway.endpoints.routes import ERRORS, KeyedRoute, gateway_of
from p2pinfer.http.answers import HTML, json_answer
from p2pinfer.http.body import Body
from p2pinfer.http.static_files import static_files
from p2pinfer.openai_api.shapes.base import Shape
from p2pinfer.openai_api.shapes.chat import ChatRequest
from p2pinfer.openai_api.shapes.completions import CompletionRequest
from p2pinfer.openai_api.shapes.responses import ResponseRequest

_REQUESTS: tuple[type[Shape], ...] = (ChatRequest, CompletionRequest, ResponseRequest)


class Healthz(BaseModel):
    """Whether the gateway can answer."""

    ok: bool
    models: int


def operations_router() -> APIRouter:
    """What programs ask."""
    router = APIRouter()
    keyed = APIRouter(route_class=KeyedRoute)

    @router.get("/healthz", response_model=Healthz, responses={503: {"model": Healthz}})
    async def healthz(request: Request) -> Response:
        """Whether there is a model. Needs no key."""
        count = len(gateway_of(request).models.list())
        return json_answer({"ok": count > 0, "models": count}, status=200 if count else 503)

    @keyed.get("/metrics", response_model=None, responses={401: ERRORS[401]})
    async def metrics(request: Request) -> Response:
        """Figures for Prometheus."""
        content, media_type = gateway_of(request).metrics.text()
        return Response(content, media_type=media_type, headers={"cache-control": "no-store"})

    router.include_router(keyed)
    return router


def add_docs(app: FastAPI) -> None:
    """Register the page that describes the API."""
    files = static_files(FOLDER / "static")

    @cache
    def page() -> Body:
        return Body.of(render_docs(app.openapi(), refused_fields()), HTML)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return page().answer(request)

    @app.get("/docs/{name}", include_in_schema=False)
    async def file(request: Request, name: str) -> Response:
        if (body := files.get(name)) is None:
            raise HTTPException(404)
        return body.answer(request)


def refused_fields() -> dict[str, dict[str, str]]:
    """Of each request its refused fields, and why they are."""
    return {
        request.__name__: {name: why for name, (_, why) in sorted(request.REFUSED.items())}
        for request in _REQUESTS
    }
