"""A server whose neighbour in the route is gone goes on from the point that the client names."""

from __future__ import annotations

import asyncio
import os
import threading

import numpy as np
import pytest

from p2pinfer.errors import RefusedError
from p2pinfer.server.sessions import next_hops
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, RowChunk, pack_step
from tests.fakes import FakeServer, fake_swarm, random_hidden, run_locally
from tests.server.wire_client import (
    ONE,
    HopSession,
    Route,
    WireClient,
    is_closed,
    send,
    until,
    wire_client,
)

THREE = (Span(0, 2), Span(2, 4), Span(4, 6))


async def replace_middle(client: WireClient, route: Route, index: int, member: FakeServer, **terms) -> int:
    """The client's part when a hop between two others is gone. Returns the tokens that were replayed."""
    key = os.urandom(32)
    after = route.hops[index + 1]
    await after.set_upstream(key, at_once=True)
    route.hops[index] = await client.open(member, after.downstream(key), **terms)
    return await route.hops[index - 1].set_downstream(route.hops[index].downstream())


async def test_a_middle_hop_is_replaced_and_the_outputs_are_those_of_one_machine():
    hidden = random_hidden(9)
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm, wire_client() as client:
        first, middle, last, spare = swarm.members
        route = await client.route(first, middle, last)
        await route.run(hidden[:4], 0)
        await route.run(hidden[4:5], 4)
        await swarm.kill(middle)
        assert await replace_middle(client, route, 1, spare) == 5
        await route.hops[1].caught_up(5)
        output = await route.run(hidden[5:], 5)
        progress = await route.hops[1].progress()

    assert np.array_equal(output, run_locally(hidden, 6)[5:])
    assert (progress.history_tokens, progress.received) == (5, 3)
    assert last.engine.batch_tokens == [4, 1, 4]


async def test_the_first_hop_is_replaced_by_one_that_the_client_tells_the_history():
    hidden = random_hidden(9)
    async with fake_swarm([*THREE, Span(0, 2)]) as swarm, wire_client() as client:
        *members, spare = swarm.members
        route = await client.route(*members)
        await route.run(hidden[:5], 0)
        await swarm.kill(members[0])
        key = os.urandom(32)
        await route.hops[1].set_upstream(key, at_once=True)
        route.hops[0] = await client.open(spare, route.hops[1].downstream(key))
        route.steps = await client.steps_lane(route.hops[0])
        for start in (0, 3):
            chunk = RowChunk(0, start, hidden[start : min(start + 3, 5)])
            await send(route.steps, pack_step(0, StepKind.HISTORY, [chunk], Outputs.NONE, pb.FLOAT32))
        output = await route.run(hidden[5:], 5)
        await route.hops[0].caught_up(5)

    assert np.array_equal(output, run_locally(hidden, 6)[5:])
    assert members[1].engine.batch_tokens == [5, 4]


async def test_the_last_hop_is_replaced_and_answers_the_client():
    hidden = random_hidden(9)
    async with fake_swarm([*THREE, Span(4, 6)]) as swarm, wire_client() as client:
        *members, spare = swarm.members
        route = await client.route(*members)
        await route.run(hidden[:5], 0)
        await swarm.kill(members[2])
        route.hops[2] = await client.open(spare)
        route.results = await client.results_lane(route.hops[2])
        assert await route.hops[1].set_downstream(route.hops[2].downstream()) == 5
        output = await route.run(hidden[5:], 5)

    assert np.array_equal(output, run_locally(hidden, 6)[5:])


@pytest.mark.parametrize("wire_dtype", [pb.FLOAT32, pb.INT8])
async def test_rows_of_different_lengths_are_replayed_in_small_steps(monkeypatch, wire_dtype):
    """This also holds for INT8 on the wire: rounded values are rounded to the same values again."""
    monkeypatch.setattr("p2pinfer.server.streams.packing.REPLAY_STEP_TOKENS", 3)
    rows = [random_hidden(length, seed=length) for length in (3, 8, 2)]
    terms = {"rows": 3, "wire_dtype": wire_dtype}
    outputs = []
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm, wire_client() as client:
        *members, spare = swarm.members
        for lose in (False, True):
            route = await client.route(*members, **terms)
            await route.run(rows[0][:2], 0, row=0)
            await route.run(rows[1][:7], 0, row=1)
            if lose:
                await swarm.kill(members[1])
                assert await replace_middle(client, route, 1, spare, **terms) == 9
                counts = [(await route.hops[1].frame()).caught_up.tokens]
                while counts[-1] < 9:
                    counts.append((await route.hops[1].frame()).caught_up.tokens)
                assert counts == sorted(set(counts))
            last = [RowChunk(0, 2, rows[0][2:]), RowChunk(1, 7, rows[1][7:]), RowChunk(2, 0, rows[2])]
            outputs.append(await route.exchange(last, Outputs.ALL, 4))

    assert outputs[0].tobytes() == outputs[1].tobytes()
    assert spare.engine.batch_tokens[:-1] == [3, 3, 3]


async def test_two_new_hops_in_a_row_are_told_the_history_and_the_one_behind_them_is_not():
    spans = [Span(layer, layer + 1) for layer in range(4)]
    hidden = random_hidden(8)
    async with fake_swarm([*spans, *spans[1:3]]) as swarm, wire_client() as client:
        members, spares = swarm.members[:4], swarm.members[4:]
        route = await client.route(*members)
        await route.run(hidden[:6], 0)
        await swarm.kill(members[1])
        await swarm.kill(members[2])
        key = os.urandom(32)
        await route.hops[3].set_upstream(key, at_once=True)
        route.hops[2] = await client.open(spares[1], route.hops[3].downstream(key))
        route.hops[1] = await client.open(spares[0], route.hops[2].downstream(pass_history_on=True))
        assert await route.hops[0].set_downstream(route.hops[1].downstream()) == 6
        await route.hops[2].caught_up(6)
        output = await route.run(hidden[6:], 6)
        behind = await route.hops[3].progress()

    assert np.array_equal(output, run_locally(hidden, 4)[6:])
    assert behind.history_tokens == 0
    assert members[3].engine.batch_tokens == [6, 2]


async def test_a_hop_whose_outputs_nobody_takes_says_so_goes_on_and_keeps_them():
    """The session's next steps are computed and recorded; the client repeats its unanswered steps."""
    hidden = random_hidden(8)
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm, wire_client() as client:
        first, middle, last, spare = swarm.members
        route = await client.route(first, middle, last)
        await route.run(hidden[:2], 0)
        await swarm.kill(middle)
        lost = asyncio.create_task(route.hops[0].frame())
        for position in range(2, 6):
            step = await route.send([RowChunk(0, position, hidden[position : position + 1])])
            await until(lambda step=step: first.open_sessions[0].computed_step_id == step)
        assert "took no step" in (await lost).outputs_lost.detail
        progress = await route.hops[0].progress()
        assert (progress.received, progress.computed) == (5, 5)
        assert progress.sent < 5
        assert len(first.history()[0]) == 6

        assert await replace_middle(client, route, 1, spare) == 6
        output = await route.run(hidden[2:], 2)  # all steps since the last answer, once more

    assert np.array_equal(output, run_locally(hidden, 6)[2:])


async def test_a_client_that_lost_its_results_may_dial_again_and_ask_again():
    hidden = random_hidden(6)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        (member,) = swarm.members
        route = await client.route(member)
        await route.run(hidden[:2], 0)
        route.results.close()
        lost = asyncio.create_task(route.hops[0].frame())
        for position in range(2, 6):
            step = await route.send([RowChunk(0, position, hidden[position : position + 1])])
            await until(lambda step=step: member.open_sessions[0].computed_step_id == step)
        assert "took no result" in (await lost).outputs_lost.detail
        route.results = await client.results_lane(route.hops[0])
        output = await route.run(hidden[2:], 2)

    assert np.array_equal(output, run_locally(hidden, 2)[2:])


async def test_after_a_change_at_once_what_the_former_sender_says_is_not_heard():
    hidden = random_hidden(4)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        (member,) = swarm.members
        route = await client.route(member)
        (hop,) = route.hops
        await route.run(hidden[:2], 0)
        former, key = route.steps, os.urandom(32)
        assert await is_closed(await client.steps_lane(hop, key))  # not expected yet
        await hop.set_upstream(key, at_once=True)
        assert await is_closed(former)
        assert await is_closed(await client.steps_lane(hop))  # the former key
        route.steps = await client.steps_lane(hop, key)
        output = await route.run(hidden[2:], 2)
        assert await is_closed(await client.steps_lane(hop, key))  # the lane is taken

    assert np.array_equal(output, run_locally(hidden, 2)[2:])
    assert member.engine.batch_tokens == [2, 2]


async def test_both_senders_are_heard_until_the_new_one_sends_its_first_step():
    hidden = random_hidden(6)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        (member,) = swarm.members
        route = await client.route(member)
        (hop,) = route.hops
        key = os.urandom(32)
        await route.run(hidden[:2], 0)
        await hop.set_upstream(key, at_once=False)
        before = await route.run(hidden[2:3], 2)
        new = await client.steps_lane(hop, key)
        await until(lambda: member.open_sessions[0].next_steps is not None)
        still = await route.run(hidden[3:4], 3)
        former, route.steps = route.steps, new
        after = await route.run(hidden[4:], 4)
        assert await is_closed(former)

    assert np.array_equal(np.concatenate([before, still, after]), run_locally(hidden, 2)[2:])


async def test_what_the_former_sender_sent_first_is_run_first():
    """Both messages came while the session was computing: they are handled in order, and without a gap."""
    hidden = random_hidden(4)
    gate = threading.Event()
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        (member,) = swarm.members
        route = await client.route(member)
        key = os.urandom(32)
        await route.hops[0].set_upstream(key, at_once=False)
        new = await client.steps_lane(route.hops[0], key)
        await until(lambda: member.open_sessions[0].next_steps is not None)
        member.engine.before_forward = lambda: gate.wait(60) and None
        ids = [
            await route.send([RowChunk(0, position, hidden[position : position + 1])]) for position in (0, 1)
        ]
        await until(lambda: member.runner.queue_depth == 1)
        route.steps = new
        ids += [
            await route.send([RowChunk(0, position, hidden[position : position + 1])]) for position in (2, 3)
        ]
        gate.set()
        outputs = [await route.receive(step, 1) for step in ids]

    assert np.array_equal(np.concatenate(outputs), run_locally(hidden, 2))


async def test_a_step_that_follows_one_that_went_astray_is_dropped_and_not_held_against_the_session():
    """The step was on its way while the upstream changed; the client sends both steps again."""
    hidden = random_hidden(5)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        (member,) = swarm.members
        route = await client.route(member)
        await route.run(hidden[:2], 0)
        key = os.urandom(32)
        await route.hops[0].set_upstream(key, at_once=True)
        route.steps = await client.steps_lane(route.hops[0], key)
        next(route.ids)  # the step with the third token never came here
        await route.send([RowChunk(0, 3, hidden[3:])])
        output = await route.run(hidden[2:], 2)
        nan = RowChunk(0, 7, ONE * np.float32("nan"))
        await send(route.steps, pack_step(9, StepKind.DECODE, [nan], Outputs.ALL, pb.FLOAT32))
        with pytest.raises(RefusedError, match="NaN"):  # any other mistake still ends it
            await route.hops[0].frame()

    assert np.array_equal(output, run_locally(hidden, 2)[2:])
    assert member.engine.batch_tokens == [2, 3]


async def test_progress_is_told_while_the_engine_computes():
    gate = threading.Event()
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        route = await client.route(*swarm.members)
        await route.run(ONE, 0)
        swarm.members[1].engine.before_forward = lambda: gate.wait(60) and None
        step = await route.send([RowChunk(0, 1, ONE)])
        await until(lambda: swarm.members[1].runner.queue_depth == 1)
        first, second = [await hop.progress() for hop in route.hops]
        gate.set()
        await route.receive(step, 1)

    assert (first.received, first.computed, first.sent) == (2, 2, 2)
    assert (second.received, second.computed, second.sent) == (2, 1, 1)


async def test_only_who_has_the_control_key_changes_or_sees_a_session():
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        route = await client.route(*swarm.members)
        first, second = route.hops
        for session_id, key in (
            (first.id, second.control_key),
            (first.id, b""),
            (second.id, first.control_key),
        ):
            thief = HopSession(first.member, first.stub, session_id, key, b"", b"", None)
            for attempt in (
                thief.progress(),
                thief.set_upstream(bytes(32), at_once=True),
                thief.set_downstream(second.downstream()),
            ):
                with pytest.raises(RefusedError, match="no session here") as refused:
                    await attempt
                assert refused.value.reason == "unknown-session"
        await route.run(ONE, 0)


async def test_a_change_that_can_not_be_is_refused_and_the_session_goes_on(monkeypatch):
    monkeypatch.setattr(next_hops, "DIAL_SECONDS", 1.0)
    hidden = random_hidden(3)
    async with fake_swarm([Span(0, 2), Span(2, 4), Span(2, 4)]) as swarm, wire_client() as client:
        first, second, spare = swarm.members
        route = await client.route(first, second)
        gone = await client.open(spare)
        target = gone.downstream()
        await swarm.kill(spare)
        await route.run(hidden[:1], 0)
        nobody = pb.Downstream(record=b"x", session_id=bytes(16), steps_key=bytes(32))
        for hop, downstream, held, reason in (
            (route.hops[0], target, (), "next-hop-unreachable"),
            (route.hops[0], nobody, (), "bad-opening"),
            (route.hops[0], pb.Downstream(), (), "bad-opening"),
            (route.hops[0], target, (1, 2), "bad-opening"),
            (route.hops[1], target, (), "bad-opening"),
        ):
            with pytest.raises(RefusedError) as refused:
                await hop.set_downstream(downstream, held=held)
            assert refused.value.reason == reason
        with pytest.raises(RefusedError, match="32 bytes"):
            await route.hops[0].set_upstream(b"short", at_once=True)
        output = await route.run(hidden[1:], 1)

    assert np.array_equal(output, run_locally(hidden, 4)[1:])


async def test_a_replay_keeps_a_session_from_being_idle_and_a_new_upstream_does_not():
    """A client could go on naming upstreams for ever, and never compute."""
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        route = await client.route(*swarm.members)
        first, second = (member.open_sessions[0].lease for member in swarm.members)
        first.touched_at = second.touched_at = 0.0
        await route.hops[0].set_downstream(route.hops[1].downstream())
        await route.hops[1].set_upstream(os.urandom(32), at_once=False)
        assert first.last_active > 0
        assert second.last_active == 0
        first.opened_at, first.touched_at = -1e6, 0.0
        await route.hops[0].set_downstream(route.hops[1].downstream())
        assert first.last_active == 0, "history is read for ever"
