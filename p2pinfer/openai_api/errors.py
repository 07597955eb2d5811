"""Errors that a client gets to see, and which of p2pinfer's errors is which of them. Pure."""

from __future__ import annotations

import math
from typing import Any

from p2pinfer.errors import (
    HopFailedError,
    NoRouteError,
    P2PInferError,
    PromptTooLongError,
    RefusedError,
    SwarmError,
    UsageError,
)
from p2pinfer.plain_text import printable

INVALID = "invalid_request_error"
_MOST_CHARACTERS = 1_000
_ROUTE_RETRY_SECONDS = 10
_HOP_RETRY_SECONDS = 2
_MOST_RETRY_SECONDS = 86_400


class ApiError(Exception):
    """An answer that is an error, with the fields of OpenAI's: `message`, `type`, `param`, `code`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = printable(message.replace("\n", " "), _MOST_CHARACTERS)
        self.kind = kind
        self.param = param
        self.code = code
        self.retry_after_seconds = retry_after_seconds

    def body(self) -> dict[str, Any]:
        """The JSON of the answer, and of an event in the middle of a stream."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """When to come again, and for a missing key how to send one."""
        headers = {}
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(_whole_seconds(self.retry_after_seconds))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


def refused_field(param: str, message: str, *, code: str = "unsupported_parameter") -> ApiError:
    """A field whose value this gateway doesn't honour."""
    return ApiError(400, message, param=param, code=code)


def as_api_error(error: Exception, *, param: str | None = None) -> ApiError:
    """What a client is told about any error. An unexpected one is not described: it is in the log."""
    match error:
        case ApiError():
            return error
        case PromptTooLongError():
            return ApiError(400, str(error), param=param, code="context_length_exceeded")
        case UsageError():
            return ApiError(400, str(error), param=param, code="invalid_value")
        case RefusedError():
            return ApiError(
                429,
                f"The swarm is full: {error}. Try again later.",
                kind="rate_limit_error",
                code="swarm_full",
                retry_after_seconds=max(1.0, error.retry_after_seconds),
            )
        case NoRouteError():
            return _unavailable(str(error), "no_route", _ROUTE_RETRY_SECONDS)
        case SwarmError():
            return _unavailable(str(error), "swarm_unreachable", _ROUTE_RETRY_SECONDS)
        case HopFailedError():
            return _unavailable(str(error), "servers_failed", _HOP_RETRY_SECONDS)
        case P2PInferError():
            return ApiError(500, str(error), kind="server_error", code="failed")
    return ApiError(
        500,
        "The gateway failed; your request is fine. Its operator finds the error in the log.",
        kind="server_error",
        code="internal_error",
    )


def is_expected(error: Exception) -> bool:
    """False for what is a fault of p2pinfer, and belongs into the log."""
    return isinstance(error, ApiError | P2PInferError)


def _unavailable(message: str, code: str, retry_after_seconds: float) -> ApiError:
    return ApiError(503, message, kind="server_error", code=code, retry_after_seconds=retry_after_seconds)


def _whole_seconds(seconds: float) -> int:
    if not math.isfinite(seconds):
        return _MOST_RETRY_SECONDS
    return max(1, min(math.ceil(seconds), _MOST_RETRY_SECONDS))
