"""What a request meets first: whose page sent it, how long it is, which pages may read the answer."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2pinfer.gateway.access.origins import OriginRules, allows, refusal
from p2pinfer.http.answers import json_answer
from p2pinfer.http.bodies import Arrival, Bodies
from p2pinfer.http.request_body import BodyTooLargeError
from p2pinfer.http.sources import source_of_request
from p2pinfer.openai_api.errors import ApiError

_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
_PREFLIGHT_SECONDS = 600
_READABLE = "retry-after, x-request-id, x-p2pinfer-route, x-p2pinfer-cached-tokens, x-p2pinfer-replaced-hops"


class Door:
    """Refuses what OriginRules forbid, answers preflights, and bounds the bytes of a body."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        rules: OriginRules,
        most_body_bytes: int,
        most_coming_bytes: int,
        most_bytes_at: Mapping[str, int] | None = None,
    ) -> None:
        """`most_bytes_at` has addresses whose bodies may be longer than others: those of files.
        Bodies that aren't there as a whole have `most_coming_bytes` in all.
        """
        self._app = app
        self._rules = rules
        self._most_body_bytes = most_body_bytes
        self._most_bytes_at = most_bytes_at or {}
        self._bodies = Bodies(most_coming_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if why := refusal(self._rules, host=headers.get("host", ""), origin=origin):
            error = ApiError(403, why, kind="permission_error", code="origin_refused")
            await json_answer(error.body(), status=error.status)(scope, receive, send)
            return
        is_allowed = origin is not None and allows(self._rules, origin)

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.add_vary_header("origin")
                if is_allowed and origin is not None:
                    answer["access-control-allow-origin"] = origin
                    answer["access-control-expose-headers"] = _READABLE
            await send(message)

        is_preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if is_allowed and is_preflight:
            await json_answer(
                {},
                headers={
                    "access-control-allow-methods": _METHODS,
                    "access-control-allow-headers": headers.get("access-control-request-headers", ""),
                    "access-control-max-age": str(_PREFLIGHT_SECONDS),
                },
            )(scope, receive, send_readable)
            return
        if (most_bytes := self._most_bytes_at.get(scope["path"])) is not None:  # these go to the disk
            await self._app(scope, _bounded(headers, receive, most_bytes), send_readable)
            return
        with self._bodies.arriving(source_of_request(scope)) as arrival:
            counted = _bounded(headers, _counted(arrival, receive), self._most_body_bytes)
            await self._app(scope, counted, send_readable)


def _counted(arrival: Arrival, receive: Receive) -> Receive:
    """`receive`, which counts the body until it is there, and raises BodyGivenUpError."""
    is_there = False

    async def receive_counted() -> Message:
        nonlocal is_there
        if is_there:  # the application waits for the client to leave
            return await receive()
        message = await arrival.part(receive)
        is_there = not message.get("more_body", False)
        if is_there:
            arrival.is_there()
        return message

    return receive_counted


def _bounded(headers: Headers, receive: Receive, most_bytes: int) -> Receive:
    """`receive`, which raises BodyTooLargeError as soon as it is known that there are too many bytes."""
    too_large = f"A request has at most {most_bytes:,} bytes."
    declared = headers.get("content-length", "")
    is_too_large = declared.isdecimal() and int(declared[:20]) > most_bytes
    received_bytes = 0

    async def receive_bounded() -> Message:
        nonlocal received_bytes
        message = await receive()
        if message["type"] == "http.request":
            received_bytes += len(message.get("body", b""))
            if is_too_large or received_bytes > most_bytes:
                raise BodyTooLargeError(too_large)
        return message

    return receive_bounded
