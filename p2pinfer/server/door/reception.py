"""Who answers at the door: nobody's sessions at first, those of the loaded span once there is one.

The door opens before the layers are there, so that a server that is still fetching them can give others what
it has already. Sessions are refused until a handler is attached, and from when it is detached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from p2pinfer.server.door.handler import Handler
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.inference_pb2_grpc import InferenceServicer
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.status import Reason, Refused, errors_as_status

Context = Any
"""grpc.aio.ServicerContext, whose generics exist for type checkers only."""

_RETRY_SECONDS = 5.0
_Reply = TypeVar("_Reply")


class Reception(InferenceServicer):
    """Passes calls and lanes on to the handler that is attached now. For the event loop."""

    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._adopt: Callable[[Lane], None] | None = None
        self._calls: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def attached(
        self, handler: Handler, adopt: Callable[[Lane], None], leave_seconds: float
    ) -> AsyncIterator[None]:
        """Let `handler` answer calls, and `adopt` take lanes, until the block ends.

        Then open calls have `leave_seconds` to tell their clients why they end; the rest is broken off.
        """
        assert self._handler is None
        self._handler, self._adopt = handler, adopt
        try:
            yield
        finally:
            try:
                if self._calls:
                    await asyncio.wait(self._calls, timeout=leave_seconds)
            finally:
                self._handler = self._adopt = None
                await cancel_and_wait(*self._calls)

    def adopt(self, lane: Lane) -> None:
        """Take a lane that was accepted; without a handler nobody expects it."""
        if self._adopt is None:
            lane.close()
        else:
            self._adopt(lane)

    async def Ping(self, request: pb.PingRequest, context: Context) -> pb.PingReply:
        """Pass it on."""
        return await self._passed_on(context, lambda handler: handler.Ping(request, context))

    async def Session(self, opening: pb.Opening, context: Context) -> None:
        """Pass it on."""
        await self._passed_on(context, lambda handler: handler.Session(opening, context))

    async def SetUpstream(self, request: pb.SetUpstreamRequest, context: Context) -> pb.SetUpstreamReply:
        """Pass it on."""
        return await self._passed_on(context, lambda handler: handler.SetUpstream(request, context))

    async def SetDownstream(
        self, request: pb.SetDownstreamRequest, context: Context
    ) -> pb.SetDownstreamReply:
        """Pass it on."""
        return await self._passed_on(context, lambda handler: handler.SetDownstream(request, context))

    async def Progress(self, request: pb.ProgressRequest, context: Context) -> pb.ProgressReply:
        """Pass it on."""
        return await self._passed_on(context, lambda handler: handler.Progress(request, context))

    async def Settle(self, request: pb.SettleRequest, context: Context) -> pb.SettleReply:
        """Pass it on."""
        return await self._passed_on(context, lambda handler: handler.Settle(request, context))

    async def _passed_on(self, context: Context, call: Callable[[Handler], Awaitable[_Reply]]) -> _Reply:
        handler = self._handler
        async with errors_as_status(context):
            if handler is None:
                raise Refused(
                    Reason.BUSY, "this server is still loading its layers, or leaves", _RETRY_SECONDS
                )
        assert handler is not None  # `errors_as_status` raises
        with self._counted():
            return await call(handler)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            yield
        finally:
            self._calls.discard(task)
