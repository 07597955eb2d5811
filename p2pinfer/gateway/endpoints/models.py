"""`GET /v1/models`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from p2pinfer.gateway.endpoints.routes import ERRORS, KeyedRoute, gateway_of
from p2pinfer.http.answers import json_answer


class ModelEntry(BaseModel):
    """One model."""

    id: str
    object: str
    created: int
    """Unix seconds, when the gateway opened it."""
    owned_by: str
    context_length: int
    """The most tokens of a prompt and its answer."""


class ModelList(BaseModel):
    """All models of a gateway."""

    object: str
    data: list[ModelEntry]


def models_router() -> APIRouter:
    """The two addresses."""
    router = APIRouter(route_class=KeyedRoute)

    @router.get("/models", response_model=ModelList, responses={401: ERRORS[401]})
    async def models(request: Request) -> Response:
        """The models that this gateway has."""
        entries: list[dict[str, Any]] = [model.as_json() for model in gateway_of(request).models.list()]
        return json_answer({"object": "list", "data": entries})

    @router.get("/models/{name:path}", response_model=ModelEntry, responses=ERRORS)
    async def model(request: Request, name: str) -> Response:
        """One of them."""
        return json_answer(gateway_of(request).models.find(name).as_json())

    return router
