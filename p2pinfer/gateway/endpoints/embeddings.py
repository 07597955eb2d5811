"""`POST /v1/embeddings`."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from p2pinfer.gateway.answering.choices import Usage
from p2pinfer.gateway.endpoints.delivering import unless_gone
from p2pinfer.gateway.endpoints.routes import ERRORS, KeyedRoute, gateway_of, key_of
from p2pinfer.gateway.problems.errors import as_api_error, refused_field
from p2pinfer.gateway.shapes.embeddings import EmbeddingRequest
from p2pinfer.http.answers import json_answer

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
            prompts = [await model.encode(text, add_special_tokens=True) for text in body.input]
            vectors = await model.text.embed(prompts)
            if body.dimensions is not None and body.dimensions != vectors.shape[1]:
                raise refused_field(
                    "dimensions",
                    f"'dimensions' isn't supported: vectors of {model.id} have {vectors.shape[1]}",
                )
            usage = Usage(prompt_tokens=sum(map(len, prompts)), cached_tokens=0, completion_tokens=0)
            count_tokens(usage.prompt_tokens)
            gateway.metrics.count(model.id, usage)
            return json_answer(_form(model.id, vectors, body.encoding_format, usage))
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


def _form(model: str, vectors: NDArray[np.float32], encoding: str, usage: Usage) -> dict[str, Any]:
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, encoding)}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens},
    }


def _encoded(vector: NDArray[np.float32], encoding: str) -> str | list[float]:
    """Base64 is of little-endian float32."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(number) for number in vector]


def _no_tokens() -> Usage:
    return Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)
