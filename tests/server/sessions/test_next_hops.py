"""A successor gets the history while the hop that it replaces still works, whatever interrupts that."""

from __future__ import annotations

import asyncio
import contextlib
import os

import grpc
import numpy as np
import pytest

from p2pinfer.errors import RefusedError
from p2pinfer.server.sessions import rest_writer
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.steps import Outputs, RowChunk
from tests.fakes import FakeServer, fake_swarm, random_hidden, run_locally
from tests.server.deaf_hop import deaf_hop
from tests.server.wire_client import is_closed, opened, until, wire_client

THREE = (Span(0, 2), Span(2, 4), Span(4, 6))


def spare_of(member: FakeServer):
    """The lane that warms a successor for the server's only session, if there is one."""
    (slot,) = member.handler._next_hops._slots.values()
    return slot.spare


async def hears_the_end(lane: Lane) -> bool:
    """Read everything that was sent, until the end."""
    lane.max_frame_bytes = 1 << 20
    while not await is_closed(lane):
        pass
    return True


async def test_a_successor_is_warmed_while_steps_run_and_takes_over_between_two_tokens():
    hidden = random_hidden(12)
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm, wire_client() as client:
        first, middle, last, successor = swarm.members
        route = await client.route(first, middle, last)
        results = [await route.run(hidden[:4], 0)]

        key = os.urandom(32)
        await route.hops[2].set_upstream(key, at_once=False)
        warm = await client.open(successor, route.hops[2].downstream(key))
        assert await route.hops[0].set_downstream(warm.downstream(), switch=False) == 4
        await warm.caught_up(4)
        results += [await route.run(hidden[i : i + 1], i) for i in range(4, 7)]
        assert middle.engine.batch_tokens == [4, 1, 1, 1]
        assert await route.hops[0].set_downstream(warm.downstream(), switch=False) == 3
        results += [await route.run(hidden[7:8], 7)]

        assert await route.hops[0].set_downstream(warm.downstream(), switch=True) == 1
        assert await route.hops[0].set_downstream(warm.downstream(), switch=True) == 0  # done before
        former, route.hops[1] = route.hops[1], warm
        results += [await route.run(hidden[i : i + 1], i) for i in range(8, 12)]
        former.call.cancel()
        await until(lambda: not middle.open_sessions)

    assert np.array_equal(np.concatenate(results), run_locally(hidden, 6))
    assert middle.engine.batch_tokens == [4, 1, 1, 1, 1]
    assert successor.engine.batch_tokens == [4, 3, 1, 1, 1, 1, 1]
    assert last.engine.batch_tokens == [4, *[1] * 8]


async def test_a_rewind_while_a_successor_is_warmed_reaches_it_too():
    hidden, other = random_hidden(8), random_hidden(6, seed=9)
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm, wire_client() as client:
        *members, successor = swarm.members
        route = await client.route(*members)
        await route.run(other, 0)
        key = os.urandom(32)
        await route.hops[2].set_upstream(key, at_once=False)
        warm = await client.open(successor, route.hops[2].downstream(key))
        assert await route.hops[0].set_downstream(warm.downstream(), switch=False) == 6
        await route.run(hidden[:3], 0)
        assert await route.hops[0].set_downstream(warm.downstream(), switch=True) == 3
        route.hops[1] = warm
        output = await route.run(hidden[3:], 3)

    assert np.array_equal(output, run_locally(hidden, 6)[3:])


async def test_what_a_hop_holds_already_is_not_sent_again():
    """Only the successor's lane broke: the client knows how far the replay was."""
    hidden = random_hidden(9)
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        route = await client.route(*swarm.members)
        await route.run(hidden[:6], 0)
        key = os.urandom(32)
        await route.hops[1].set_upstream(key, at_once=True)
        sent = await route.hops[0].set_downstream(route.hops[1].downstream(key), held=[4])
        output = await route.run(hidden[6:], 6)

    assert sent == 2
    assert np.array_equal(output, run_locally(hidden, 4)[6:])


async def test_another_successor_in_place_of_one_that_was_warmed_begins_anew():
    hidden = random_hidden(6)
    async with fake_swarm([*THREE, Span(2, 4), Span(2, 4)]) as swarm, wire_client() as client:
        *members, first_choice, second_choice = swarm.members
        route = await client.route(*members)
        await route.run(hidden[:4], 0)
        for successor in (first_choice, second_choice):
            key = os.urandom(32)
            await route.hops[2].set_upstream(key, at_once=False)
            warm = await client.open(successor, route.hops[2].downstream(key))
            assert await route.hops[0].set_downstream(warm.downstream(), switch=False) == 4
        (dropped,) = first_choice.open_sessions
        await until(lambda: dropped.steps.fileno() < 0)
        assert await route.hops[0].set_downstream(warm.downstream()) == 0
        route.hops[1] = warm
        output = await route.run(hidden[4:], 4)

    assert np.array_equal(output, run_locally(hidden, 6)[4:])


async def long_route(client, swarm):
    """A route of two with a history of 64 KB in the first hop."""
    route = await client.route(*swarm.members[:2], max_tokens=2048)
    prefill = random_hidden(2000)
    for start in range(0, 2000, 500):
        await route.exchange([RowChunk(0, start, prefill[start : start + 500])], Outputs.NONE, 0)
    return route, prefill


async def test_a_successor_that_stops_reading_holds_up_nobody_and_a_cancelled_call_drops_it(monkeypatch):
    async with (
        deaf_hop(monkeypatch) as deaf,
        fake_swarm([Span(0, 2), Span(2, 4)]) as swarm,
        wire_client() as client,
    ):
        route, prefill = await long_route(client, swarm)
        request = pb.SetDownstreamRequest(session=route.hops[0].ref, downstream=deaf.downstream, switch=True)
        call = route.hops[0].stub.SetDownstream(request)
        await until(lambda: spare_of(swarm.members[0]) and spare_of(swarm.members[0]).lane._unsent)
        output = await route.run(random_hidden(1, seed=3), 2000)
        assert not call.done()
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        await until(lambda: spare_of(swarm.members[0]) is None)
        assert await hears_the_end(deaf.lanes[0])
        await route.run(random_hidden(1, seed=4), 2001)

    whole = np.concatenate([prefill, random_hidden(1, seed=3)])
    assert np.array_equal(output[0], run_locally(whole, 4)[-1])


async def test_a_successor_that_stops_reading_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(rest_writer, "TAKE_SECONDS", 0.1)
    async with (
        deaf_hop(monkeypatch) as deaf,
        fake_swarm([Span(0, 2), Span(2, 4)]) as swarm,
        wire_client() as client,
    ):
        route, _ = await long_route(client, swarm)
        with pytest.raises(RefusedError, match="took no history") as refused:
            await route.hops[0].set_downstream(deaf.downstream)
        assert refused.value.reason == "next-hop-unreachable"
        assert spare_of(swarm.members[0]) is None
        await route.run(random_hidden(1), 2000)


async def test_a_newer_call_takes_the_place_of_one_that_hangs(monkeypatch):
    async with (
        deaf_hop(monkeypatch) as deaf,
        fake_swarm([Span(0, 2), Span(2, 4), Span(2, 4)]) as swarm,
        wire_client() as client,
    ):
        route, prefill = await long_route(client, swarm)
        hanging = asyncio.create_task(route.hops[0].set_downstream(deaf.downstream))
        await until(lambda: spare_of(swarm.members[0]) and spare_of(swarm.members[0]).lane._unsent)
        route.hops[1] = await client.open(swarm.members[2], max_tokens=2048)
        route.results = await client.results_lane(route.hops[1])
        assert await route.hops[0].set_downstream(route.hops[1].downstream()) == 2000
        with pytest.raises(RefusedError, match="taken its place"):
            await hanging
        assert await hears_the_end(deaf.lanes[0])
        output = await route.run(random_hidden(1, seed=3), 2000)

    whole = np.concatenate([prefill, random_hidden(1, seed=3)])
    assert np.array_equal(output[0], run_locally(whole, 4)[-1])


async def test_a_session_that_ends_meanwhile_ends_the_replay_and_closes_what_was_opened(monkeypatch):
    async with (
        deaf_hop(monkeypatch) as deaf,
        fake_swarm([Span(0, 2), Span(2, 4)]) as swarm,
        wire_client() as client,
    ):
        member = swarm.members[0]
        route, _ = await long_route(client, swarm)
        hanging = asyncio.create_task(route.hops[0].set_downstream(deaf.downstream))
        await until(lambda: spare_of(member) and spare_of(member).lane._unsent)
        route.hops[0].call.cancel()
        with pytest.raises(RefusedError, match="session has ended"):
            await hanging
        await until(lambda: not member.open_sessions)
        assert await hears_the_end(deaf.lanes[0])


async def test_a_next_hop_that_takes_no_more_steps_is_lost_but_the_session_is_not(monkeypatch):
    """After the switch, the client is told, names another hop, and the history fills the gap."""
    hidden = random_hidden(6)
    async with (
        deaf_hop(monkeypatch) as deaf,
        fake_swarm([Span(0, 2), Span(2, 4), Span(2, 4)]) as swarm,
        wire_client() as client,
    ):
        member = swarm.members[0]
        route, prefill = await long_route(client, swarm)
        hop = route.hops[0]
        deaf_from_the_end = asyncio.create_task(hop.set_downstream(deaf.downstream, held=[2000]))
        assert await deaf_from_the_end == 0
        monkeypatch.setattr(rest_writer, "TAKE_SECONDS", 0.1)
        lost = asyncio.create_task(hop.frame())
        for _ in range(40):
            if lost.done():
                break
            step = await route.send([RowChunk(0, 1500, prefill[1500:])])
            await until(lambda step=step: member.open_sessions[0].computed_step_id == step)
        assert "nothing for" in (await lost).outputs_lost.detail
        route.hops[1] = await client.open(swarm.members[2], max_tokens=2048)
        route.results = await client.results_lane(route.hops[1])
        assert await hop.set_downstream(route.hops[1].downstream()) == 2000
        output = await route.run(hidden, 2000)

    assert np.array_equal(output, run_locally(np.concatenate([prefill, hidden]), 4)[2000:])


async def test_a_step_that_the_former_next_hop_has_half_taken_is_dropped_at_the_switch(monkeypatch):
    """The event loop writes the output meanwhile; it is in the history, and the next step can come."""
    async with (
        deaf_hop(monkeypatch) as deaf,
        fake_swarm([Span(0, 2), Span(2, 4), Span(2, 4)]) as swarm,
        wire_client() as client,
    ):
        route, prefill = await long_route(client, swarm)
        hop, (session,) = route.hops[0], swarm.members[0].open_sessions
        assert await hop.set_downstream(deaf.downstream, held=[2000]) == 0
        for start in (0, 500, 1000, 1500):
            await route.send([RowChunk(0, start, prefill[start : start + 500])])
        await until(lambda: session.flushing is not None)
        route.hops[1] = await client.open(swarm.members[2], max_tokens=2048)
        route.results = await client.results_lane(route.hops[1])
        await hop.set_downstream(route.hops[1].downstream())
        assert await hears_the_end(deaf.lanes[0])
        await until(lambda: session.computed_step_id == 8 and not session.busy)
        route.results = await client.results_lane(route.hops[1])
        output = await route.run(prefill[1900:], 1900)

    assert np.array_equal(output, run_locally(prefill, 4)[1900:])


async def test_steps_that_come_during_a_replay_and_the_switch_leave_no_gap_and_come_once(monkeypatch):
    """The client doesn't wait: its steps and the change of hops meet in any order."""
    monkeypatch.setattr("p2pinfer.server.streams.packing.REPLAY_STEP_TOKENS", 5)
    hidden = random_hidden(60)
    async with fake_swarm([Span(0, 2), Span(2, 4), Span(2, 4)]) as swarm, wire_client() as client:
        *members, successor = swarm.members
        route = await client.route(*members)
        await route.run(hidden[:20], 0)
        warm = await client.open(successor)
        results = await client.results_lane(warm)  # steps after the change have results: they need a way

        async def keep_sending() -> None:
            for position in range(20, 60):
                await route.send([RowChunk(0, position, hidden[position : position + 1])], Outputs.NONE)
                await asyncio.sleep(0)

        sending = asyncio.create_task(keep_sending())
        replayed = await route.hops[0].set_downstream(warm.downstream())
        await sending
        cache = successor.open_sessions[0].lease.caches[0]
        await until(lambda: cache.length == 60)
        assert sum(successor.engine.batch_tokens) == successor.open_sessions[0].tokens_run == 60
        route.hops[1], route.results = warm, results
        again = await route.run(hidden[50:], 50)

    assert replayed >= 20
    assert np.array_equal(again, run_locally(hidden, 4)[50:])


async def test_other_sessions_are_served_while_one_is_replayed(monkeypatch):
    async with (
        deaf_hop(monkeypatch) as deaf,
        fake_swarm([Span(0, 2), Span(2, 4)]) as swarm,
        wire_client() as client,
    ):
        route, _ = await long_route(client, swarm)
        replay = asyncio.create_task(route.hops[0].set_downstream(deaf.downstream))
        await until(lambda: spare_of(swarm.members[0]) and spare_of(swarm.members[0]).lane._unsent)
        async with opened(swarm) as other:
            output = await other.run(random_hidden(3), 0)
        replay.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await replay

    assert np.array_equal(output, run_locally(random_hidden(3), 4))
