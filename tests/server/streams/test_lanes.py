"""Lanes into a server: which are taken, which are closed, and that other sessions aren't disturbed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import numpy as np
import pytest

from p2pinfer.fairness.shares import Bound
from p2pinfer.types import Span
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.steps import RowChunk
from tests.fakes import fake_swarm, random_hidden, run_locally
from tests.server.wire_client import ONE, is_closed, opened, until, wire_client


async def test_nobody_without_its_key_gets_a_lane_into_a_session():
    """A stranger can't send steps, read results, or take the place of a connected sender."""
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        route = await client.route(*swarm.members)
        last = route.hops[1]
        await route.run(random_hidden(1), 0)
        for hello in (
            Hello(Role.STEPS, last.id, bytes(32)),
            Hello(Role.RESULTS, last.id, bytes(32)),
            Hello(Role.RESULTS, last.id, last.steps_key),
            Hello(Role.STEPS, last.id, last.steps_key),
            Hello(Role.STEPS, bytes(16), last.steps_key),
            Hello(Role.RESULTS, route.hops[0].id, bytes(32)),
        ):
            assert await is_closed(await client.lane(last.member, hello))
        await route.run(random_hidden(1), 1)


async def test_who_has_the_key_of_the_results_may_dial_again():
    """The client's own lane broke, and the client is back before the server noticed."""
    hidden = random_hidden(3)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        route = await client.route(swarm.members[0])
        await route.run(hidden[:1], 0)
        former, route.results = route.results, await client.results_lane(route.hops[0])
        assert await is_closed(former)
        output = await route.run(hidden[1:], 1)
    assert np.array_equal(output, run_locally(hidden, 2)[1:])


async def test_a_result_that_was_half_read_is_not_finished_on_another_lane():
    """A client that dials again repeats what wasn't answered; the step behind it can come."""
    hidden = random_hidden(500)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        route = await client.route(swarm.members[0], max_tokens=512)
        (session,) = swarm.members[0].open_sessions
        await route.run(hidden[:1], 0)
        session.outputs._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        route.results._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(8):
            await route.send([RowChunk(0, 0, hidden)])
        await until(lambda: session.flushing is not None)
        for _ in range(2):  # whichever step it was: the second lane finds no half-sent frame
            route.results = await client.results_lane(route.hops[0])
            await until(lambda: session.computed_step_id == 9 and not session.busy)
        output = await route.run(hidden, 0)
    assert np.array_equal(output, run_locally(hidden, 2))


@pytest.mark.parametrize("first", [b"", b"x", bytes(49), b"\x03" + bytes(48), bytes(50)])
async def test_a_lane_that_does_not_say_hello_is_closed(first):
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        lane = await client.lane(swarm.members[0])
        lane.send(first)
        assert await is_closed(lane)


async def test_strangers_do_not_pile_up(monkeypatch):
    """A silent connection is closed when more connections come; sessions still get through."""
    few = Bound(in_all=3, per_source=3, per_key=3)
    monkeypatch.setattr("p2pinfer.server.streams.arrivals.STRANGERS", few)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        member = swarm.members[0]
        lanes = [await client.lane(member) for _ in range(6)]
        assert all([await is_closed(lane) for lane in lanes[:3]])
        await until(lambda: len(member.runner.arrivals.strangers) == 3)
        async with opened(swarm) as route:
            await route.run(ONE, 0)


@pytest.mark.parametrize(
    "first", [b"p2pinfer lane 4\n", b"p2p", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01junk", b""]
)
async def test_whatever_connects_the_door_stays_open(first):
    async with fake_swarm([Span(0, 2)]) as swarm:
        reader, writer = await asyncio.open_connection("127.0.0.1", swarm.members[0].port)
        writer.write(first)
        writer.write_eof()
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
        async with opened(swarm) as route:
            await route.run(ONE, 0)


async def test_a_lane_of_steps_that_ends_ends_nothing_else():
    """Only the sender knows why the lane ended; the session and its caches stay."""
    hidden = random_hidden(4)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        route = await client.route(swarm.members[0])
        await route.run(hidden[:2], 0)
        route.steps.close()
        (session,) = swarm.members[0].open_sessions
        await until(lambda: session.steps.fileno() < 0)
        key = os.urandom(32)
        await route.hops[0].set_upstream(key, at_once=True)
        route.steps = await client.steps_lane(route.hops[0], key)
        output = await route.run(hidden[2:], 2)
    assert np.array_equal(output, run_locally(hidden, 2)[2:])
