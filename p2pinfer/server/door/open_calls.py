"""Tells which connections of gRPC are in use: it counts the open calls of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from p2pinfer.server.door.guests import Guests

SESSION_METHOD = "/p2pinfer.wire.Inference/Session"

Method = Callable[[Any, Any], Awaitable[Any]]


class OpenCalls(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Counts the calls of methods that are coroutines and take one message."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests

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
        counted = self._counted(method, is_session=handler_call_details.method == SESSION_METHOD)
        return make(counted, handler.request_deserializer, handler.response_serializer)

    def _counted(self, method: Method, *, is_session: bool) -> Method:
        async def call(request: Any, context: Any) -> Any:
            with self._open(guest_of(context.peer()), is_session=is_session):
                return await method(request, context)

        return call

    @contextmanager
    def _open(self, guest: str, *, is_session: bool) -> Iterator[None]:
        self._guests.call_began(guest, is_session=is_session)
        try:
            yield
        finally:
            self._guests.call_ended(guest, is_session=is_session)


def guest_of(peer: str) -> str:
    """The name of a connection, from what gRPC calls the other side: the path of its unix socket.

    >>> guest_of("unix:/run/user/1/some%20folder/guest-7")
    'guest-7'
    """
    return peer.rpartition("/")[2]
