"""Frames for a session's client that wait to be written: everything but the results of steps."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from p2pinfer.wire import inference_pb2 as pb


class Outbox:
    """The newest frame of each kind: it says all that the older ones of its kind did.

    So a client that doesn't read can't make the outbox grow. It belongs to the event loop.
    """

    def __init__(self) -> None:
        self._frames: dict[str, pb.ServerFrame] = {}
        self._filled = asyncio.Event()

    def put(self, frame: pb.ServerFrame) -> None:
        """Add a frame in place of an older one of its kind."""
        kind = frame.WhichOneof("body") or ""
        self._frames.pop(kind, None)  # the newest frame is written last
        self._frames[kind] = frame
        self._filled.set()

    async def take(self) -> pb.ServerFrame:
        """Wait for the next frame."""
        await self._filled.wait()
        frame = self._frames.pop(next(iter(self._frames)))
        if not self._frames:
            self._filled.clear()
        return frame

    async def drain_forever(self, context: Any) -> NoReturn:
        """Write frames into a session's call (a grpc.aio.ServicerContext) as they come."""
        while True:
            await context.write(await self.take())
