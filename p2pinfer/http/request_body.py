"""The body of a request, with a bound: a stranger can send as much as he likes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

from p2pinfer.errors import UsageError


class BodyTooLargeError(UsageError):
    """The body of a request has more bytes than allowed."""


async def body_parts(request: Request, most_bytes: int, too_large: str) -> AsyncIterator[bytes]:
    """The parts of the body.

    Raises BodyTooLargeError, which says `too_large`, as soon as it is known that there are too many bytes,
    and starlette's ClientDisconnect if the client leaves before the end.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > most_bytes:
        raise BodyTooLargeError(too_large)
    total_bytes = 0
    async for part in request.stream():
        total_bytes += len(part)
        if total_bytes > most_bytes:
            raise BodyTooLargeError(too_large)
        yield part
