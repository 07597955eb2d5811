"""Every error of the application as an answer in OpenAI's form."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from p2pinfer.errors import P2PInferError
from p2pinfer.gateway.problems.errors import INVALID, ApiError, as_api_error, is_expected
from p2pinfer.http.answers import json_answer
from p2pinfer.http.request_body import BodyTooLargeError
from p2pinfer.http.security import HEADERS

logger = logging.getLogger(__name__)

_CODES = {
    "extra_forbidden": "unknown_parameter",
    "json_invalid": "invalid_json",
    "missing": "missing_required_parameter",
}
_TYPES = frozenset({"bool", "float", "int", "str"})
_TAGS = frozenset({"assistant", "function_call", "function_call_output", "message", "system", "tool", "user"})
_DOCS = "/docs describes the API."
_NO_JSON = "The body isn't valid JSON in UTF-8."
_FORMATS = frozenset({"format", "response_format"})
"""Fields of several kinds. Pydantic writes the kind behind them."""


def error_answer(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells a client of an error."""
    return json_answer(error.body(), status=error.status, headers={**error.headers(), **(headers or {})})


def add_problems(app: FastAPI) -> None:
    """Register the handlers of all errors."""

    @app.exception_handler(ApiError)
    async def told(request: Request, error: ApiError) -> Response:
        return error_answer(error)

    @app.exception_handler(P2PInferError)
    async def failed(request: Request, error: P2PInferError) -> Response:
        return error_answer(as_api_error(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return error_answer(of_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def missed(request: Request, error: HTTPException) -> Response:
        path = request.scope["path"]
        if isinstance(error.__cause__, BodyTooLargeError):  # FastAPI makes its own error of it
            said = ApiError(413, str(error.__cause__), code="request_too_large")
        elif error.status_code == 404:
            said = ApiError(404, f"There is nothing at {path}. {_DOCS}", code="not_found")
        elif error.status_code == 405:
            said = ApiError(405, f"{path} doesn't take {request.method}. {_DOCS}", code="method_not_allowed")
        elif error.status_code == 400:  # FastAPI's word for what isn't UTF-8, or nested without end
            said = ApiError(400, _NO_JSON, code="invalid_json")
        else:
            said = ApiError(error.status_code, str(error.detail), kind=INVALID)
        return error_answer(said, error.headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        if not is_expected(error):
            logger.error("a request failed because of a fault of p2pinfer", exc_info=error)
        return error_answer(as_api_error(error), HEADERS)  # the middleware doesn't see this answer


def of_validation(errors: Sequence[Any]) -> ApiError:
    """The first thing that is wrong with a request, with the path of its field: `messages[0].content`."""
    # A union says for each kind why the value isn't that; the deepest reason is about what was meant.
    first = max(errors, key=lambda one: len(one["loc"])) if errors else {"loc": (), "msg": "", "type": ""}
    unknown = next((one for one in errors if one["type"] == "extra_forbidden"), None)
    chosen = unknown or first
    param = _path_of(chosen["loc"])
    kind = str(chosen["type"])
    if kind == "extra_forbidden":
        message = f"Unknown parameter: '{param}'. The gateway refuses what it doesn't know. {_DOCS}"
    elif kind == "missing":
        message = (
            f"Missing required parameter: '{param}'." if param else "The request has no body: send JSON."
        )
    elif kind == "json_invalid":
        message, param = _NO_JSON, ""
    else:
        message = f"Invalid value for '{param}': {chosen['msg']}." if param else f"{chosen['msg']}."
    return ApiError(400, message, param=param or None, code=_CODES.get(kind, "invalid_value"))


def _path_of(location: Sequence[str | int]) -> str:
    path, before = "", None
    for part in location[1:] if location and location[0] in ("body", "query", "path") else location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not (_names_a_type(part) or (isinstance(before, int) and part in _TAGS) or before in _FORMATS):
            path += f".{part}" if path else part
        before = part
    return path


def _names_a_type(part: str) -> bool:
    """True for what pydantic writes into a path to say which kind of a union it tried."""
    return part in _TYPES or "[" in part or part[:1].isupper()
