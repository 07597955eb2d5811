"""`POST /v1/embeddings`."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from p2pinfer.gateway.endpoints.delivering import unless_gone
from p2pinfer.gateway.endpoints.routes import ERRORS, KeyedRoute, gateway_of, key_of
from p2pinfer.http.answers import json_answer
from p2pinfer.openai_api.answering.choices import Usage
from p2pinfer.openai_api.answering.embedding_answer import embedding_answer
from p2pinfer.openai_api.errors import as_api_error
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
    with gateway.visitors.admitted(key_of(request)) as count_tokens:
        began, status, usage = time.monotonic(), 200, _no_tokens()
        gateway.metrics.begun(model.id)
        try:
            answer, usage = await embedding_answer(model, body)
            count_tokens(usage.prompt_tokens)
            gateway.metrics.count(model.id, usage)
            return json_answer(answer)
        except Exception as error:
            status = as_api_error(error).status
            raise
        finally:
            gateway.metrics.ended(
                _ENDPOINT,
                model.id,
                status=status,
                seconds=time.monotonic() - began,
                usage=usage,
                had_first=False,
            )


def _no_tokens() -> Usage:
    return Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)
