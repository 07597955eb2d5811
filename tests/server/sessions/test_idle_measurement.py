"""A server that nobody uses measures itself, and never in a session's way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from p2pinfer.server.compute.rates import Rates
from p2pinfer.server.sessions import idle_measurement
from p2pinfer.server.sessions.idle_measurement import STALE_SECONDS, TOKENS, IdleMeasurement, is_stale
from p2pinfer.types import Span
from tests.fakes import SPEED, FakeServer, fake_swarm
from tests.server.wire_client import SECONDS, opened, until, wire_client

LONG_AGO = 1000.0


@asynccontextmanager
async def unused_server(**shape: int) -> AsyncIterator[tuple[FakeServer, IdleMeasurement]]:
    async with fake_swarm([Span(0, 2)], **shape) as swarm:
        [member] = swarm.members
        member.batcher.rates = Rates(SPEED, LONG_AGO)
        yield member, IdleMeasurement(member.sessions, member.runner, member.batcher, member.engine)


def test_rates_are_stale_if_either_of_them_is():
    rates = Rates(SPEED, 0.0)
    assert not is_stale(rates, STALE_SECONDS)
    assert is_stale(rates, STALE_SECONDS + 1)
    rates.decode_measured_at = STALE_SECONDS
    assert is_stale(rates, STALE_SECONDS + 1)


async def test_an_idle_server_measures_decode_and_prefill_and_frees_what_it_took():
    async with unused_server() as (member, idle):
        before, free = time.time(), member.sessions.free_cache_tokens
        assert await asyncio.wait_for(idle.measure(), SECONDS)

        rates = member.batcher.rates
        assert rates.decode_measured_at >= before
        assert rates.prefill_measured_at >= before
        assert sum(member.engine.batch_tokens) == TOKENS
        assert member.sessions.free_cache_tokens == free
        assert member.batcher.depth == 0


async def test_a_server_whose_sessions_measure_it_adds_nothing():
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm):
        [member] = swarm.members
        idle = IdleMeasurement(member.sessions, member.runner, member.batcher, member.engine)
        assert not await idle.measure()
        assert member.engine.batch_tokens == []


async def test_a_session_that_is_opened_meanwhile_waits_for_one_step_at_most():
    async with fake_swarm([Span(0, 2)]) as swarm:
        [member] = swarm.members
        idle = IdleMeasurement(member.sessions, member.runner, member.batcher, member.engine)
        computing, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            computing.set()
            go_on.wait(SECONDS)

        member.engine.before_forward = wait
        measuring = asyncio.create_task(idle.measure())
        await until(computing.is_set)
        async with wire_client() as client:
            await client.open(member)
            go_on.set()
            assert not await asyncio.wait_for(measuring, SECONDS)
        assert len(member.engine.batch_tokens) == 1


async def test_what_it_takes_is_not_leased_to_a_session():
    async with unused_server(cache_tokens=TOKENS + 16) as (member, idle):
        least = member.sessions.cache_tokens
        measuring = asyncio.create_task(idle.measure())
        while not measuring.done():
            least = min(least, member.sessions.free_cache_tokens)
            await asyncio.sleep(0)
        assert least == 16


async def test_a_server_without_room_is_not_measured():
    async with unused_server(cache_tokens=TOKENS - 1) as (member, idle):
        assert not await idle.measure()
        assert member.engine.batch_tokens == []


async def test_an_engine_that_fails_ends_the_measurement_and_nothing_else():
    def fail() -> None:
        raise MemoryError("no room")

    async with unused_server() as (member, idle):
        member.engine.before_forward = fail
        assert not await asyncio.wait_for(idle.measure(), SECONDS)
        member.engine.before_forward = lambda: None
        assert await asyncio.wait_for(idle.measure(), SECONDS)


async def test_only_stale_rates_are_measured_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(idle_measurement, "LOOK_SECONDS", 0.001)
    async with unused_server() as (member, idle):
        looks: list[bool] = []
        monkeypatch.setattr(
            idle_measurement, "is_stale", lambda *given: looks.append(is_stale(*given)) or looks[-1]
        )
        measuring = asyncio.create_task(idle.measure_forever())
        await until(lambda: len(looks) >= 4)
        measuring.cancel()
        assert looks[:4] == [True, False, False, False]
        assert sum(member.engine.batch_tokens) == TOKENS
