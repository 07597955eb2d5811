"""The answer to a request for embeddings."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.openai_api.answering.choices import Usage
from p2pinfer.openai_api.errors import refused_field
from p2pinfer.openai_api.shapes.embeddings import EmbeddingRequest
from p2pinfer.openai_api.work.served_model import ServedModel


async def embedding_answer(model: ServedModel, request: EmbeddingRequest) -> tuple[dict[str, Any], Usage]:
    """Encode and embed the texts. Raises ApiError, UsageError, and what the swarm can't do."""
    prompts = [await model.encode(text, add_special_tokens=True) for text in request.input]
    vectors = await model.text.embed(prompts)
    if request.dimensions is not None and request.dimensions != vectors.shape[1]:
        raise refused_field(
            "dimensions",
            f"'dimensions' isn't supported: vectors of {model.id} have {vectors.shape[1]}",
        )
    usage = Usage(prompt_tokens=sum(map(len, prompts)), cached_tokens=0, completion_tokens=0)
    return _form(model.id, vectors, request.encoding_format, usage), usage


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
