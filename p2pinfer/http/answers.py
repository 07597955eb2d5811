"""Answers that are made for one request."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

HTML = "text/html; charset=utf-8"
JSON = "application/json"


def json_answer(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that no cache keeps."""
    text = json.dumps(content, allow_nan=False).encode(errors="replace")
    return Response(
        text, status_code=status, headers={"cache-control": "no-store", **(headers or {})}, media_type=JSON
    )
