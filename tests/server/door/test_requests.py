"""Requests that don't come, come in part, or are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from p2pinfer.fairness.rates import RateBound
from p2pinfer.server.door import requests
from p2pinfer.server.door.requests import UnreadRequests
from p2pinfer.types import Span
from p2pinfer.wire.status import Reason, refusal_of
from tests.fakes import FakeSwarm, fake_swarm
from tests.server.wire_client import ONE, address_of, opened, wire_client

PING = "/p2pinfer.wire.Inference/Ping"
SESSION = "/p2pinfer.wire.Inference/Session"


async def silent() -> AsyncIterator[bytes]:
    await asyncio.sleep(3600)
    yield b""


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def outcome_of(call: grpc.aio.Call) -> Reason | None:
    """Why a call was refused."""
    async with asyncio.timeout(30):
        try:
            await (call.read() if hasattr(call, "read") else call)
        except grpc.aio.AioRpcError as error:
            refused = refusal_of(error)
            return refused and refused.reason
    return None


async def channel_to(swarm: FakeSwarm, client) -> grpc.aio.Channel:
    return await client._stack.enter_async_context(client._pool.connected(address_of(swarm.members[0])))


async def test_a_request_that_does_not_come_in_time_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Also one that opens a session: nothing is kept for it any more."""
    monkeypatch.setattr(requests, "REQUEST_SECONDS", 0.05)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        channel = await channel_to(swarm, client)
        for call in (channel.stream_unary(PING)(silent()), channel.stream_stream(SESSION)(silent())):
            assert await outcome_of(call) is Reason.BAD_OPENING


async def test_a_call_without_a_request_is_refused():
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        channel = await channel_to(swarm, client)

        assert await outcome_of(channel.stream_unary(PING)(nothing())) is Reason.BAD_OPENING


async def test_a_connection_with_too_many_unread_requests_loses_its_oldest(monkeypatch: pytest.MonkeyPatch):
    """Others, and what comes whole, are served meanwhile."""
    monkeypatch.setattr(requests, "MOST_UNREAD_OF_CONNECTION", 3)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        channel = await channel_to(swarm, client)
        calls = [channel.stream_unary(PING)(silent()) for _ in range(5)]
        for call in calls[:2]:
            assert await outcome_of(call) is Reason.BAD_OPENING
        async with opened(swarm) as route:
            await route.run(ONE, 0)
        assert not any(call.done() for call in calls[3:])
        for call in calls:
            call.cancel()


async def test_of_all_unread_requests_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(requests, "MOST_UNREAD", 2)
    unread = UnreadRequests()
    ended: list[str] = []

    async def wait(name: str) -> None:
        with unread.waiting(name) as deadline:
            try:
                async with deadline:
                    await asyncio.sleep(3600)
            except TimeoutError:
                ended.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in ("first", "second", "third", "fourth")]
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks[:2])

    assert ended == ["first", "second"] and len(unread) == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(unread) == 0


async def test_a_flood_of_calls_that_are_broken_off_at_once_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch,
):
    """Also of methods that don't exist. A session on another connection isn't disturbed."""
    monkeypatch.setattr("p2pinfer.server.door.guests.MOST_REFUSED", 1)
    monkeypatch.setattr("p2pinfer.server.door.guests.CALLS", RateBound(per_key=5, per_source=50, in_all=500))
    for path in (PING, "/no/such"):
        async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm) as session, wire_client() as client:
            channel = await channel_to(swarm, client)
            codes = []
            for _ in range(10):
                try:
                    async with asyncio.timeout(30):
                        await channel.unary_unary(path)(b"")
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code())
            assert {*codes} - {grpc.StatusCode.UNIMPLEMENTED} and codes.count(codes[-1]) < 10
            assert len(await session.run(ONE, 0)) == 1
