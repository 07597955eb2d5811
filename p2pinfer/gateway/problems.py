"""Every error of the application as an answer in OpenAI's form."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from p2pinfer.errors import P2PInferError
from p2pinfer.http.answers import json_answer
from p2pinfer.http.bodies import BodyGivenUpError
from p2pinfer.http.request_body import BodyTooLargeError
from p2pinfer.http.security import HEADERS
from p2pinfer.openai_api.errors import INVALID, ApiError, as_api_error, is_expected
from p2pinfer.openai_api.validation import NO_JSON, of_validation

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 30
_DOCS = "/docs describes the API."


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

    @app.exception_handler(BodyTooLargeError)
    async def too_large(request: Request, error: BodyTooLargeError) -> Response:
        return error_answer(_too_large(error))

    @app.exception_handler(BodyGivenUpError)
    async def given_up(request: Request, error: BodyGivenUpError) -> Response:
        return error_answer(_given_up(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return error_answer(of_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def missed(request: Request, error: HTTPException) -> Response:
        path = request.scope["path"]
        if isinstance(error.__cause__, BodyTooLargeError):  # FastAPI makes its own error of it
            said = _too_large(error.__cause__)
        elif isinstance(error.__cause__, BodyGivenUpError):
            said = _given_up(error.__cause__)
        elif error.status_code == 404:
            said = ApiError(404, f"There is nothing at {path}. {_DOCS}", code="not_found")
        elif error.status_code == 405:
            said = ApiError(405, f"{path} doesn't take {request.method}. {_DOCS}", code="method_not_allowed")
        elif error.status_code == 400:  # FastAPI's word for what isn't UTF-8, or nested without end
            said = ApiError(400, NO_JSON, code="invalid_json")
        else:
            said = ApiError(error.status_code, str(error.detail), kind=INVALID)
        return error_answer(said, error.headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        if not is_expected(error):
            logger.error("a request failed because of a fault of p2pinfer", exc_info=error)
        return error_answer(as_api_error(error), HEADERS)  # the middleware doesn't see this answer


def _too_large(error: BodyTooLargeError) -> ApiError:
    return ApiError(413, str(error), code="request_too_large")


def _given_up(error: BodyGivenUpError) -> ApiError:
    return ApiError(
        503, str(error), kind="server_error", code="too_much_at_once", retry_after_seconds=_RETRY_SECONDS
    )
