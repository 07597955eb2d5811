"""Something around every method of a gRPC server, whatever its service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc

Method: TypeAlias = Callable[[Any, Any], Awaitable[Any]]
Parse: TypeAlias = Callable[[bytes], Any]


class AroundMethods(grpc.aio.ServerInterceptor, ABC):  # type: ignore[misc]  # grpc has no types
    """For methods that are coroutines and take one message."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """gRPC's interface: the handler of a method, or None if there is no such method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        make, method = (
            (grpc.unary_stream_rpc_method_handler, handler.unary_stream)
            if handler.response_streaming
            else (grpc.unary_unary_rpc_method_handler, handler.unary_unary)
        )
        around, parse = self.around(method, handler.request_deserializer, handler_call_details.method)
        return make(around, parse, handler.response_serializer)

    @abstractmethod
    def around(self, method: Method, parse: Parse | None, path: str) -> tuple[Method, Parse | None]:
        """What is called in the place of `method`, and what parses its requests before, if anything does."""
