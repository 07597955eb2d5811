"""Who answers calls and lanes: before layers are loaded, while they are served, when the server leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from p2pinfer.server.door.reception import Reception
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.status import REASON_KEY, RETRY_KEY


class AbortedError(Exception):
    """gRPC's abort raises, too."""


class Context:
    """What a handler needs of a gRPC context."""

    def __init__(self) -> None:
        self.status: Any = None
        self.trailing: dict[str, str] = {}

    async def abort(self, status: grpc.StatusCode, detail: str, trailing: tuple[Any, ...]) -> None:
        self.status, self.trailing = status, dict(trailing)
        raise AbortedError(detail)


class Handler:
    """Answers pings, and keeps sessions until they are told to end."""

    def __init__(self) -> None:
        self.open = 0
        self.end = asyncio.Event()
        self.cancelled = 0

    async def Ping(self, request: pb.PingRequest, context: Context) -> pb.PingReply:
        return pb.PingReply(server="us")

    async def Session(self, opening: pb.Opening, context: Context) -> None:
        self.open += 1
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Lane:
    """A lane that knows whether it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


async def refused(reception: Reception) -> Context:
    context = Context()
    with pytest.raises(AbortedError, match="still loading its layers, or leaves"):
        await reception.Ping(pb.PingRequest(), context)
    return context


async def test_before_the_layers_are_there_callers_are_told_to_come_back():
    """The port is open then: for those who fetch files."""
    context = await refused(Reception())

    assert context.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert context.trailing[REASON_KEY] == "busy"
    assert float(context.trailing[RETRY_KEY]) > 0


async def test_calls_and_lanes_reach_the_handler_that_is_attached():
    reception, handler, lanes = Reception(), Handler(), []
    early, expected, late = Lane(), Lane(), Lane()
    reception.adopt(early)  # type: ignore[arg-type]
    async with reception.attached(handler, lanes.append, 1.0):  # type: ignore[arg-type]
        assert (await reception.Ping(pb.PingRequest(), Context())).server == "us"
        reception.adopt(expected)  # type: ignore[arg-type]
    reception.adopt(late)  # type: ignore[arg-type]

    await refused(reception)
    assert lanes == [expected]
    assert (early.closed, expected.closed, late.closed) == (True, False, True)


async def test_open_calls_have_time_to_end_by_themselves():
    reception, handler = Reception(), Handler()
    async with reception.attached(handler, lambda lane: None, 60.0):  # type: ignore[arg-type]
        call = asyncio.create_task(reception.Session(pb.Opening(), Context()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(handler.end.set)

    assert call.done()
    assert (handler.open, handler.cancelled) == (1, 0)


async def test_calls_that_do_not_end_are_broken_off():
    reception, handler = Reception(), Handler()
    async with reception.attached(handler, lambda lane: None, 0.0):  # type: ignore[arg-type]
        call = asyncio.create_task(reception.Session(pb.Opening(), Context()))
        await asyncio.sleep(0)

    assert call.cancelled()
    assert handler.cancelled == 1
