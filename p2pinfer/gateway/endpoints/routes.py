"""Addresses that need a key: it is looked at before the body is read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from p2pinfer.gateway.access.keys import Key
from p2pinfer.gateway.gateway import Gateway
from p2pinfer.gateway.uploads.form import FORM
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.outside.plain_json import MOST_DEPTH, is_nested_within

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request can't be answered as it is"},
    401: {"description": "No valid API key"},
    404: {"description": "No such model"},
    429: {"description": "Full, or too much for this key: come again after Retry-After"},
    503: {"description": "The swarm can't answer now: come again after Retry-After"},
    "default": {"description": "Any other error, in the same form"},
}
STREAM_OR_ERRORS: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    200: {"description": "The answer, or a stream of events", "content": {"text/event-stream": {}}},
}


def gateway_of(request: Request) -> Gateway:
    """The application's gateway."""
    found: Gateway = request.app.state.gateway
    return found


def key_of(request: Request) -> Key | None:
    """The key that came with the request; None where none is needed."""
    key: Key | None = request.state.key
    return key


def check_is_json(headers: Mapping[str, str]) -> None:
    """Raise ApiError for a body that says it is something else, before it is read.

    A page of another site can send other kinds without asking the browser's leave.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        said = f"not {kind}" if kind else "which is missing"
        raise _not_read(f"Send JSON, with the header 'Content-Type: application/json' ({said}).")
    _check_is_plain(headers)


def check_is_form(headers: Mapping[str, str]) -> None:
    """Raise ApiError for a body that doesn't say it is a form with files.

    A page of another site can send one without asking the browser's leave: there `access/origins.py` is all
    that keeps it out.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise _not_read(f"Send the file as {FORM} ({f'not {kind}' if kind else 'the header is missing'}).")
    _check_is_plain(headers)


def check_is_nothing(headers: Mapping[str, str]) -> None:
    """Raise ApiError for a body, where there is nothing to say. JSON is let through: clients send `{}`."""
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        check_is_json(headers)


def check_depth(body: bytes) -> None:
    """Raise ApiError for JSON that is nested deeper than any request: everything behind here recurses."""
    if not is_nested_within(body, MOST_DEPTH):
        message = f"The body is nested deeper than {MOST_DEPTH} levels."
        raise ApiError(400, message, code="invalid_json")


def _check_is_plain(headers: Mapping[str, str]) -> None:
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise _not_read(f"Send the body as it is, not compressed ({coding}).")


def _not_read(message: str) -> ApiError:
    return ApiError(415, message, code="unsupported_media_type")


class KeyedRoute(APIRoute):
    """A route that answers nobody without a key, if the gateway has keys. What is posted to it is JSON."""

    check_body: Callable[[Mapping[str, str]], None] = staticmethod(check_is_json)
    takes_json = True

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the check. Refusals are counted."""
        handle = super().get_route_handler()

        async def handle_with_key(request: Request) -> Response:
            gateway = gateway_of(request)
            try:
                request.state.key = gateway.visitors.check(request)
                if request.method == "POST":
                    self.check_body(request.headers)
                    if self.takes_json:
                        check_depth(await request.body())
            except ApiError as error:
                gateway.metrics.refused(self.path, error.status)
                raise
            return await handle(request)

        return handle_with_key


class UploadRoute(KeyedRoute):
    """A route that takes a form with a file."""

    check_body = staticmethod(check_is_form)
    takes_json = False


class BodilessRoute(KeyedRoute):
    """A route that takes nothing but its address."""

    check_body = staticmethod(check_is_nothing)
    takes_json = False
