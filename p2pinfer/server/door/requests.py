"""Requests are read and parsed inside their calls, so that what is wrong with one is answered with a reason.

gRPC itself waits for the rest of a request for ever, and keeps what there is of it: one connection with 1,000
calls took 82 MB. And to a request that can't be parsed it answers UNKNOWN and logs a traceback for each:
strangers could fill the log with them.

Calls that come too often are refused before anything else is done for them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from p2pinfer.server.door.guests import Guests
from p2pinfer.server.door.methods import Method, Parse
from p2pinfer.server.door.open_calls import guest_of
from p2pinfer.wire.status import Reason, Refused, errors_as_status

_RETRY_SECONDS = 1.0

REQUEST_SECONDS = 10.0
"""From the beginning of a call to the end of its request."""

MOST_UNREAD, MOST_UNREAD_OF_CONNECTION = 512, 64
"""Calls whose requests aren't there yet. When one more comes, the oldest one is refused: of its connection,
or of all. A request of someone honest comes whole, within milliseconds."""


class ParsedRequests(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Reads and parses the one request of every call."""

    def __init__(self, guests: Guests) -> None:
        """`guests` are told of each call before anything is done for it, and of those without a request."""
        self._unread = UnreadRequests()
        self._guests = guests

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """gRPC's interface: the handler of a method. There is one for those that don't exist, to count them.

        For gRPC the requests of all methods are streams: else it would call no method before a request is
        there.
        """
        handler = await continuation(handler_call_details)
        if handler is None:
            return grpc.stream_unary_rpc_method_handler(self._unknown)
        make, method = (
            (grpc.stream_stream_rpc_method_handler, handler.unary_stream)
            if handler.response_streaming
            else (grpc.stream_unary_rpc_method_handler, handler.unary_unary)
        )
        parse = handler.request_deserializer
        assert parse is not None, "somebody else parses them"
        return make(self._parsed(method, parse), None, handler.response_serializer)

    async def _unknown(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async with errors_as_status(context):
            self._count(context)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")

    def _count(self, context: Any) -> None:
        """Raises Refused if too many calls come from there."""
        if not self._guests.may_call(guest_of(context.peer()), time.monotonic()):
            raise Refused(Reason.BUSY, "too many calls come from there", _RETRY_SECONDS)

    def _parsed(self, method: Method, parse: Parse) -> Method:
        async def call(requests: AsyncIterator[bytes], context: Any) -> Any:
            async with errors_as_status(context):
                self._count(context)
                connection = guest_of(context.peer())
                try:
                    with self._unread.waiting(connection) as deadline:
                        message = parse(await _first(requests, deadline))
                except DecodeError as error:
                    self._guests.call_was_empty(connection, time.monotonic())
                    raise Refused(Reason.BAD_OPENING, "the request can't be parsed") from error
                except (Refused, asyncio.CancelledError):  # streams that are reset at once cost as much
                    self._guests.call_was_empty(connection, time.monotonic())
                    raise
            return await method(message, context)

        return call


class UnreadRequests:
    """The calls whose requests aren't there yet, by their connections. For the event loop."""

    def __init__(self) -> None:
        self._deadlines: dict[asyncio.Timeout, str] = {}  # the oldest first
        self._of_connection: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._deadlines)

    @contextmanager
    def waiting(self, connection: str) -> Iterator[asyncio.Timeout]:
        """Count a call of this connection; yields what ends its wait in time, or as others need room."""
        if self._of_connection[connection] >= MOST_UNREAD_OF_CONNECTION:
            self._end(next(one for one, other in self._deadlines.items() if other == connection))
        elif len(self._deadlines) >= MOST_UNREAD:
            self._end(next(iter(self._deadlines)))
        deadline = asyncio.timeout(REQUEST_SECONDS)
        self._deadlines[deadline] = connection
        self._of_connection[connection] += 1
        try:
            yield deadline
        finally:
            self._forget(deadline)

    def _end(self, deadline: asyncio.Timeout) -> None:
        self._forget(deadline)
        with suppress(RuntimeError):  # it ends already
            deadline.reschedule(0.0)

    def _forget(self, deadline: asyncio.Timeout) -> None:
        connection = self._deadlines.pop(deadline, None)
        if connection is not None:
            self._of_connection[connection] -= 1
            if not self._of_connection[connection]:
                del self._of_connection[connection]


async def _first(requests: AsyncIterator[bytes], deadline: asyncio.Timeout) -> bytes:
    """The request of a call. Raises Refused if it doesn't come."""
    try:
        async with deadline:
            async for request in requests:
                return request
    except TimeoutError:
        raise Refused(Reason.BAD_OPENING, "the request didn't come in time") from None
    raise Refused(Reason.BAD_OPENING, "the call has no request")
