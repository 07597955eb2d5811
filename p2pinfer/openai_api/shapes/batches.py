"""`POST /v1/batches`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from p2pinfer.openai_api.shapes.base import Shape
from p2pinfer.openai_api.shapes.files import ExpiresAfter

MOST_METADATA = 16
MOST_METADATA_KEY_CHARACTERS = 64
MOST_METADATA_CHARACTERS = 512
MOST_FILE_ID_CHARACTERS = 64

_Key = Annotated[str, Field(max_length=MOST_METADATA_KEY_CHARACTERS)]
_Text = Annotated[str, Field(max_length=MOST_METADATA_CHARACTERS)]


class BatchRequest(Shape):
    """A file of requests to be answered within a day."""

    input_file_id: Annotated[str, Field(max_length=MOST_FILE_ID_CHARACTERS)]
    """A file whose purpose is `batch`: JSONL, a request in each line."""

    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
    """All lines are for this one."""

    completion_window: Literal["24h"]
    """What isn't answered then is reported in the error file."""

    metadata: Annotated[dict[_Key, _Text], Field(max_length=MOST_METADATA)] | None = None
    """Notes of your own."""

    output_expires_after: ExpiresAfter | None = None
    """When the output file and the error file are deleted; by default after 30 days."""
