"""Steps through hops, over real lanes and pinned TLS: a chain of servers computes as one model."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket

import numpy as np
import pytest

from p2pinfer.errors import RefusedError
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, RowChunk, pack_result, pack_step
from tests.fakes import fake_swarm, random_hidden, run_locally
from tests.server.wire_client import ONE, opened, send, until, wire_client


async def test_a_chain_of_three_computes_what_one_machine_computes_bit_for_bit():
    hidden = random_hidden(7)
    async with fake_swarm([Span(0, 2), Span(2, 3), Span(3, 6)]) as swarm, opened(swarm) as route:
        prefill = await route.run(hidden[:4], 0)
        steps = [await route.run(hidden[i : i + 1], i) for i in range(4, 7)]

    assert np.array_equal(np.concatenate([prefill, *steps]), run_locally(hidden, 6))


async def test_a_route_may_leave_and_enter_spans_in_the_middle():
    hidden = random_hidden(5)
    async with (
        fake_swarm([Span(0, 4), Span(2, 6)]) as swarm,
        opened(swarm, Span(0, 3), Span(3, 6)) as route,
    ):
        output = await route.run(hidden, 0)

    assert np.array_equal(output, run_locally(hidden, 6))


async def test_a_step_below_the_cached_length_rewinds():
    """Speculation and edited prompts rewind a session without opening a new one."""
    hidden = random_hidden(6)
    async with fake_swarm([Span(0, 1), Span(1, 2)]) as swarm, opened(swarm) as route:
        await route.run(random_hidden(6, seed=9), 0)
        output = await route.run(hidden, 0)

    assert np.array_equal(output, run_locally(hidden, 2))


async def test_rows_of_unequal_length_share_a_session_and_do_not_mix():
    short, long = random_hidden(2, seed=1), random_hidden(5, seed=2)
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, opened(swarm, rows=2) as route:
        last = await route.exchange([RowChunk(0, 0, short), RowChunk(1, 0, long)], Outputs.LAST, 2)

    assert np.array_equal(last[0], run_locally(short, 4)[-1])
    assert np.array_equal(last[1], run_locally(long, 4)[-1])


def step_bytes(
    *chunks: RowChunk, dtype=pb.FLOAT32, step_id=1, kind=StepKind.PREFILL, outputs=Outputs.ALL
) -> bytes:
    return pack_step(step_id, kind, chunks, outputs, dtype)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (b"x", "no header"),
        (step_bytes(RowChunk(0, 0, ONE))[:40], "bytes of hidden states"),
        (pack_result(1, ONE, pb.FLOAT32, b""), "without chunks"),
        (step_bytes(RowChunk(7, 0, ONE)), "row 7"),
        (step_bytes(RowChunk(0, 0, ONE[:0])), "no tokens"),
        (step_bytes(RowChunk(0, 3, ONE)), "only 0 tokens are cached"),
        (step_bytes(RowChunk(0, 0, np.tile(ONE, (65, 1)))), "opened for 64"),
        (step_bytes(RowChunk(0, 0, ONE[:, :5])), "bytes of hidden states"),
        (step_bytes(RowChunk(0, 0, ONE), dtype=pb.INT8), "bytes of hidden states"),
        (step_bytes(RowChunk(0, 0, ONE)) + b"x", "bytes of hidden states"),
        (step_bytes(RowChunk(0, 0, ONE * np.float32("nan"))), "NaN"),
        (step_bytes(RowChunk(0, 0, ONE), step_id=0), "have the id 0"),
        (
            step_bytes(RowChunk(0, 0, ONE), kind=StepKind.HISTORY, outputs=Outputs.NONE),
            "have the id 0",
        ),
        (step_bytes(RowChunk(0, 0, ONE), kind=StepKind.HISTORY, step_id=0), "asks for an answer"),
        (step_bytes(RowChunk(0, 0, ONE), kind=0), "kind 0"),
        (step_bytes(RowChunk(0, 0, ONE), kind=10), "kind 10"),
        (step_bytes(RowChunk(0, 0, np.tile(ONE, (2, 1))), kind=StepKind.DECODE), "DECODE step has at most 1"),
        (step_bytes(RowChunk(0, 0, np.tile(ONE, (33, 1))), kind=StepKind.DRAFT), "DRAFT step has at most 32"),
    ],
)
async def test_a_step_that_breaks_the_contract_ends_the_session_with_the_reason(step, message):
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm) as route:
        await send(route.steps, step)
        with pytest.raises(RefusedError, match=message) as refused:
            await route.hops[0].frame()
        assert refused.value.reason == "bad-step"
        assert swarm.members[0].engine.batch_sizes == []


async def test_int8_on_the_wire_changes_little_and_nothing_by_how_the_steps_are_cut():
    """Each token is rounded by itself, so replaying a history in other steps gives the same bytes."""
    hidden = random_hidden(6)
    outputs = []
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm:
        for cuts in ([6], [1, 2, 3], [5, 1]):
            async with opened(swarm, wire_dtype=pb.INT8) as route:
                starts = np.cumsum([0, *cuts])
                parts = [
                    await route.run(hidden[start:end], int(start))
                    for start, end in itertools.pairwise(starts)
                ]
                outputs.append(np.concatenate(parts))

    assert all(output.tobytes() == outputs[0].tobytes() for output in outputs)
    exact = run_locally(hidden, 4)
    assert not np.array_equal(outputs[0], exact)
    np.testing.assert_allclose(outputs[0], exact, atol=0.02 * np.abs(exact).max())


async def test_a_step_that_comes_twice_is_run_once():
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm) as route:
        hidden = random_hidden(3)
        await route.run(hidden[:1], 0)
        await send(route.steps, step_bytes(RowChunk(0, 0, hidden[:1]), step_id=1))
        again = await route.run(hidden[1:], 1)

    assert np.array_equal(again, run_locally(hidden, 2)[1:])
    assert swarm.members[0].engine.batch_sizes == [1, 1]


async def test_activations_that_are_not_numbers_are_refused_by_the_hop_after():
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, opened(swarm) as route:
        swarm.members[0].engine.spoil = lambda hidden: hidden * np.float32("nan")
        await route.send([RowChunk(0, 0, ONE)])
        with pytest.raises(RefusedError, match="NaN or infinity") as refused:
            await route.hops[1].frame()
    assert refused.value.reason == "bad-step"


async def test_an_engine_that_fails_ends_the_session_with_the_reason():
    def fail() -> None:
        raise MemoryError("no memory")

    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm) as route:
        swarm.members[0].engine.before_forward = fail
        await route.send([RowChunk(0, 0, ONE)])
        with pytest.raises(RefusedError, match="no memory") as refused:
            await route.hops[0].frame()
    assert refused.value.reason == "failed"


async def test_a_client_that_does_not_read_its_results_stalls_nobody_else():
    """Bytes that one client's network doesn't take wait in the event loop; other sessions' steps go on."""
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm, max_tokens=512) as slow:
        await slow.run(ONE, 0)
        (session,) = swarm.members[0].open_sessions
        session.outputs._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        slow.results._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        prefill = np.tile(ONE, (500, 1))
        sending = asyncio.create_task(send_all(slow, prefill, 4))  # 16 KB each, to the server and back
        await until(lambda: session.flushing is not None)
        async with opened(swarm) as quick:
            output = await quick.run(random_hidden(1), 0)
        await until(
            lambda: session.flushing is not None
        )  # between two frames the event loop writes nothing for a moment
        results = [await slow.receive(step, 500) for step in range(2, 6)]
        await sending

    assert np.array_equal(output, run_locally(random_hidden(1), 2))
    assert all(hidden.tobytes() == results[0].tobytes() for hidden in results)


async def send_all(route, hidden, times: int) -> None:
    for _ in range(times):
        await route.send([RowChunk(0, 0, hidden)])


async def test_40_sessions_leave_memory_descriptors_and_tasks_where_they_were():
    async with fake_swarm([Span(0, 1), Span(1, 2)]) as swarm:
        pool = ChannelPool()

        async def one() -> None:
            async with wire_client(pool=pool) as client:
                route = await client.route(*swarm.members, rows=2, max_tokens=16)
                await route.run(random_hidden(2), 0)

        for _ in range(5):
            await one()
        await until(lambda: all(len(member.sessions) == 0 for member in swarm.members))
        tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        for _ in range(40):
            await one()
        await until(lambda: all(len(member.sessions) == 0 for member in swarm.members))
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        gc.collect()

        await until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors + 1)
        assert all(member.sessions.free_cache_tokens == member.cache_tokens for member in swarm.members)
        await pool.close()
