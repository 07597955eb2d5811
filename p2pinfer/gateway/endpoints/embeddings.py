"""`POST /v1/embeddings`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from p2pinfer.gateway.endpoints.delivering import unless_gone
from p2pinfer.gateway.endpoints.routes import ERRORS, KeyedRoute, gateway_of, key_of
from p2pinfer.http.answers import json_answer
from p2pinfer.openai_api.answering.embedding_answer import embedding_answer
from p2pinfer.openai_api.shapes.embeddings import EmbeddingRequest

_ENDPOINT = "/embeddings"


def embeddings_router() -> APIRouter:
    """The address."""
    router = APIRouter(route_class=KeyedRoute)

    @router.post(_ENDPOINT, response_model=None, responses=ERRORS)
    async def embeddings(request: Request, body: EmbeddingRequest) -> Response:
        """Turn texts into vectors, with a model that is made for it."""
        return await unless_gone(request, gateway_of(request).streams, _answer(request, body))

    return router


async def _answer(request: Request, body: EmbeddingRequest) -> Response:
    gateway = gateway_of(request)
    model = gateway.models.find(body.model)
    with gateway.measured(_ENDPOINT, key_of(request), model.id) as measure:
        answer, usage = await embedding_answer(model, body)
        measure.usage = lambda: usage
        return json_answer(answer)
