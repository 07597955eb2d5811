"""Requests are parsed inside their calls, so that one that can't be parsed gets a reason as its answer.

gRPC itself answers UNKNOWN and logs a traceback for each: strangers could fill the log with them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from p2pinfer.wire.status import Reason, Refused, errors_as_status

Method = Callable[[Any, Any], Awaitable[Any]]


class ParsedRequests(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Parses the requests of methods that are coroutines and take one message."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """gRPC's interface: the handler of a method, or None if there is no such method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if handler.response_streaming:
            method = _parsed(handler.unary_stream, handler.request_deserializer)
            return grpc.unary_stream_rpc_method_handler(method, None, handler.response_serializer)
        method = _parsed(handler.unary_unary, handler.request_deserializer)
        return grpc.unary_unary_rpc_method_handler(method, None, handler.response_serializer)


def _parsed(method: Method, parse: Callable[[bytes], Any]) -> Method:
    async def call(data: bytes, context: Any) -> Any:
        async with errors_as_status(context):
            try:
                request = parse(data)
            except DecodeError as error:
                raise Refused(Reason.BAD_OPENING, "the request can't be parsed") from error
        return await method(request, context)

    return call
