"""Requests are parsed inside their calls, so that one that can't be parsed gets a reason as its answer.

gRPC itself answers UNKNOWN and logs a traceback for each: strangers could fill the log with them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from p2pinfer.server.door.methods import AroundMethods, Method, Parse
from p2pinfer.wire.status import Reason, Refused, errors_as_status


class ParsedRequests(AroundMethods):
    """Parses the requests."""

    def around(self, method: Method, parse: Parse | None, path: str) -> tuple[Method, Parse | None]:
        """The method parses its requests itself."""
        assert parse is not None, "somebody else parses them"
        return _parsed(method, parse), None


def _parsed(method: Method, parse: Parse) -> Method:
    async def call(data: bytes, context: Any) -> Any:
        async with errors_as_status(context):
            try:
                request = parse(data)
            except DecodeError as error:
                raise Refused(Reason.BAD_OPENING, "the request can't be parsed") from error
        return await method(request, context)

    return call
