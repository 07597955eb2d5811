"""`POST /v1/embeddings`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from p2pinfer.openai_api.errors import refused_field
from p2pinfer.openai_api.shapes.base import Shape, Whole
from p2pinfer.openai_api.shapes.sampling import NO_EFFECT

MOST_INPUTS = 2_048


def _texts(value: Any) -> Any:
    """Raises ApiError for token ids: they are nearly always those of OpenAI's tokenizer."""
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int | list):
        raise refused_field(
            "input",
            "'input' has token ids. They would be taken for ids of this model's own tokenizer and mean "
            "something else: send text. In LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False).",
        )
    return [value] if isinstance(value, str) else value


class EmbeddingRequest(Shape):
    """Texts to turn into vectors."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = NO_EFFECT

    model: str = Field(max_length=512)
    """One of `GET /v1/models`."""

    input: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        BeforeValidator(_texts),
        Field(min_length=1, max_length=MOST_INPUTS),
    ]
    """A text, or several."""

    encoding_format: Literal["float", "base64"] = "float"

    dimensions: Whole | None = Field(None, ge=1)
    """Only the model's own number is possible."""
