"""Sessions over real gRPC and pinned TLS: a chain of servers is one model."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import socket
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import numpy as np
import pytest

from p2pinfer.client.chain import Chain, HopServer, SessionShape, open_chain
from p2pinfer.client.routing import RouteHop
from p2pinfer.errors import HopFailedError, RefusedError
from p2pinfer.swarm.identity import Identity
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import Address, ChannelPool
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.lanes import Hello, Role, lane_to, ready
from p2pinfer.wire.opening import sign_opening
from p2pinfer.wire.steps import Outputs, RowChunk, pack_result, pack_step
from tests.fakes import (
    HIDDEN_SIZE,
    MODEL,
    FakeEngine,
    FakeServer,
    FakeSwarm,
    fake_swarm,
    random_hidden,
    run_locally,
)


def route_through(swarm: FakeSwarm, *spans: Span) -> list[HopServer]:
    """One hop per member, with its whole span unless others are given."""
    layers = spans or tuple(member.engine.span for member in swarm.members)
    return [
        HopServer(RouteHop(member.peer_id, span), member.record())
        for member, span in zip(swarm.members, layers, strict=True)
    ]


@asynccontextmanager
async def opened(
    servers: list[HopServer],
    *,
    rows: int = 1,
    max_tokens: int = 64,
    model: str = MODEL,
    step_seconds: float = 5.0,
    wire_dtype: pb.WireDtype = pb.FLOAT32,
    identity: Identity | None = None,
):
    pool = ChannelPool(connect_seconds=2.0)
    shape = SessionShape(
        model=model, hidden_size=HIDDEN_SIZE, rows=rows, max_tokens=max_tokens, wire_dtype=wire_dtype
    )
    identity = identity or Identity.ephemeral()
    try:
        async with open_chain(
            servers, shape, pool=pool, identity=identity, step_seconds=step_seconds
        ) as chain:
            yield chain
    finally:
        await pool.close()


async def run(chain: Chain, hidden: np.ndarray, position: int, row: int = 0):
    return await exchange(chain, [RowChunk(row, position, hidden)], Outputs.ALL, len(hidden))


async def exchange(chain: Chain, chunks: list[RowChunk], outputs: Outputs, tokens: int):
    """One step there and back, on a thread: a chain blocks it, and the servers are in this loop."""
    step = chain.send(chunks, outputs)
    return (await asyncio.to_thread(chain.receive, step, tokens)).hidden


async def test_a_chain_of_three_computes_what_one_machine_computes_bit_for_bit():
    hidden = random_hidden(7)
    async with (
        fake_swarm([Span(0, 2), Span(2, 3), Span(3, 6)]) as swarm,
        opened(route_through(swarm)) as chain,
    ):
        prefill = await run(chain, hidden[:4], 0)
        steps = [await run(chain, hidden[i : i + 1], i) for i in range(4, 7)]

    assert np.array_equal(np.concatenate([prefill, *steps]), run_locally(hidden, 6))


async def test_a_route_may_leave_and_enter_spans_in_the_middle():
    hidden = random_hidden(5)
    async with fake_swarm([Span(0, 4), Span(2, 6)]) as swarm:
        async with opened(route_through(swarm, Span(0, 3), Span(3, 6))) as chain:
            output = await run(chain, hidden, 0)

    assert np.array_equal(output, run_locally(hidden, 6))


async def test_a_step_below_the_cached_length_rewinds():
    """Speculation and edited prompts go back without opening a new session."""
    hidden = random_hidden(6)
    async with fake_swarm([Span(0, 1), Span(1, 2)]) as swarm, opened(route_through(swarm)) as chain:
        await run(chain, random_hidden(6, seed=9), 0)
        output = await run(chain, hidden, 0)

    assert np.array_equal(output, run_locally(hidden, 2))


async def test_rows_of_unequal_length_share_a_session_and_do_not_mix():
    short, long = random_hidden(2, seed=1), random_hidden(5, seed=2)
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, opened(route_through(swarm), rows=2) as chain:
        chunks = [RowChunk(0, 0, short), RowChunk(1, 0, long)]
        last = await exchange(chain, chunks, Outputs.LAST, 2)

    assert np.array_equal(last[0], run_locally(short, 4)[-1])
    assert np.array_equal(last[1], run_locally(long, 4)[-1])


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        ({"max_tokens": 100_000}, "too-long"),
        ({"rows": 200, "max_tokens": 64}, "too-long"),
        ({"rows": 1000, "max_tokens": 1}, "too-long"),
        ({"model": "cd" * 32}, "wrong-model"),
    ],
)
async def test_an_opening_that_cannot_be_served_is_refused_with_its_reason(break_it, reason):
    async with fake_swarm([Span(0, 2)]) as swarm:
        with pytest.raises(RefusedError) as refused:
            async with opened(route_through(swarm), **break_it):
                pass

    assert refused.value.reason == reason
    assert refused.value.peer_id == swarm.members[0].peer_id


async def test_a_full_server_refuses_and_says_when_to_come_back_and_a_closed_session_frees_it():
    async with fake_swarm([Span(0, 2)], cache_tokens=100) as swarm:
        async with opened(route_through(swarm), max_tokens=80):
            with pytest.raises(RefusedError) as refused:
                async with opened(route_through(swarm), max_tokens=80):
                    pass
        assert refused.value.reason == "cache-full"
        assert refused.value.retry_after_seconds > 0
        await until(lambda: swarm.members[0].sessions.free_cache_tokens == 100)
        async with opened(route_through(swarm), max_tokens=80):
            pass


async def test_a_draining_server_refuses():
    async with fake_swarm([Span(0, 2)]) as swarm:
        swarm.members[0].draining = True
        with pytest.raises(RefusedError, match="leaving"):
            async with opened(route_through(swarm)):
                pass


async def test_layers_that_a_server_does_not_hold_are_refused():
    async with fake_swarm([Span(0, 2)]) as swarm:
        with pytest.raises(RefusedError) as refused:
            async with opened(route_through(swarm, Span(0, 3))):
                pass
    assert refused.value.reason == "wrong-layers"


async def test_a_server_with_another_certificate_is_not_talked_to():
    """Whoever takes over an address can't take over the sessions."""
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm:
        honest, impostor = swarm.members
        honest.port = impostor.port
        with pytest.raises(HopFailedError, match="unreachable"):
            async with opened([HopServer(RouteHop(honest.peer_id, Span(0, 2)), honest.record())]):
                pass


async def test_a_next_hop_that_is_down_is_named_at_opening():
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm:
        servers = route_through(swarm)
        await swarm.kill(swarm.members[1])
        with pytest.raises((HopFailedError, RefusedError)) as failed:
            async with opened(servers):
                pass
    assert "unreachable" in str(failed.value)


async def test_a_hop_that_dies_between_steps_is_reported_and_nothing_hangs():
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, opened(route_through(swarm)) as chain:
        await run(chain, random_hidden(2), 0)
        await swarm.kill(swarm.members[1])
        with pytest.raises((HopFailedError, RefusedError)):
            await run(chain, random_hidden(1), 2)


async def test_a_session_without_steps_expires_and_its_memory_is_free_again():
    async with fake_swarm([Span(0, 2)], idle_seconds=0.2) as swarm:
        member = swarm.members[0]
        expiring = asyncio.create_task(member.sessions.expire_forever())
        async with opened(route_through(swarm)) as chain:
            with pytest.raises(RefusedError) as refused:
                await asyncio.to_thread(chain.receive, 1, 1)
        expiring.cancel()
        assert refused.value.reason == "idle"
        assert member.sessions.free_cache_tokens == member.cache_tokens


def step_bytes(*chunks: RowChunk, dtype=pb.FLOAT32) -> bytes:
    return pack_step(1, chunks, Outputs.ALL, dtype)


ONE = np.ones((1, HIDDEN_SIZE), np.float32)


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
    ],
)
async def test_a_step_that_breaks_the_contract_ends_the_session_with_the_reason(step, message):
    async with fake_swarm([Span(0, 2)]) as swarm, opened(route_through(swarm)) as chain:
        chain._steps.send(step)
        with pytest.raises(RefusedError, match=message) as refused:
            await asyncio.to_thread(chain.receive, 1, 1)
        assert refused.value.reason == "bad-step"
    assert swarm.members[0].engine.batch_sizes == []


async def test_int8_on_the_wire_changes_little_and_nothing_by_how_the_steps_are_cut():
    """Each token is rounded by itself, so replaying a history in other steps gives the same bytes."""
    hidden = random_hidden(6)
    outputs = []
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm:
        for cuts in ([6], [1, 2, 3], [5, 1]):
            async with opened(route_through(swarm), wire_dtype=pb.INT8) as chain:
                starts = np.cumsum([0, *cuts])
                parts = [
                    await run(chain, hidden[start:end], int(start))
                    for start, end in itertools.pairwise(starts)
                ]
                outputs.append(np.concatenate(parts))

    assert all(output.tobytes() == outputs[0].tobytes() for output in outputs)
    exact = run_locally(hidden, 4)
    assert not np.array_equal(outputs[0], exact)
    np.testing.assert_allclose(outputs[0], exact, atol=0.02 * np.abs(exact).max())


async def test_a_client_with_too_many_sessions_is_told_so_and_others_still_get_in(monkeypatch):
    monkeypatch.setattr("p2pinfer.server.admission.MAX_CLIENT_SESSIONS", 2)
    identity = Identity.ephemeral()
    async with fake_swarm([Span(0, 2)]) as swarm:
        servers = route_through(swarm)
        async with opened(servers, identity=identity), opened(servers, identity=identity):
            with pytest.raises(RefusedError, match="one session's rows") as refused:
                async with opened(servers, identity=identity):
                    pass
            async with opened(servers):
                pass
        assert refused.value.reason == "busy"
        assert refused.value.retry_after_seconds > 0
        assert swarm.members[0].sessions.count_of(identity.public_key) <= 2


async def test_a_session_of_half_the_layers_leases_half_the_memory_in_whole_pages():
    async with fake_swarm([Span(0, 2)], cache_tokens=64) as swarm:
        async with opened(route_through(swarm, Span(0, 1)), max_tokens=17):
            assert swarm.members[0].sessions.free_cache_tokens == 64 - 32 // 2


async def test_a_step_that_comes_twice_is_run_once():
    async with fake_swarm([Span(0, 2)]) as swarm, opened(route_through(swarm)) as chain:
        hidden = random_hidden(3)
        await run(chain, hidden[:1], 0)
        chain._last_step_id = 0
        chain.send([RowChunk(0, 0, hidden[:1])], Outputs.ALL)  # step id 1 once more
        chain._last_step_id = 1
        again = await run(chain, hidden[1:], 1)

    assert np.array_equal(again, run_locally(hidden, 2)[1:])
    assert swarm.members[0].engine.batch_sizes == [1, 1]


async def test_a_server_that_answers_with_nan_is_named():
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, opened(route_through(swarm)) as chain:
        broken = swarm.members[1]
        broken.engine.spoil = lambda hidden: hidden * np.float32("nan")
        with pytest.raises(HopFailedError, match="NaN or infinity") as failed:
            await run(chain, random_hidden(1), 0)
    assert failed.value.peer_id == broken.peer_id


async def test_a_server_that_sends_nan_on_is_named_by_the_next_and_not_the_next_itself():
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, opened(route_through(swarm)) as chain:
        broken = swarm.members[0]
        broken.engine.spoil = lambda hidden: hidden * np.float32("nan")
        with pytest.raises(HopFailedError, match="NaN or infinity") as failed:
            await run(chain, random_hidden(1), 0)
    assert failed.value.peer_id == broken.peer_id


@pytest.mark.parametrize("spoil", [lambda hidden: hidden[:, :3], lambda hidden: np.tile(hidden, (9, 1))])
async def test_a_server_that_answers_with_too_little_or_too_much_is_named(spoil):
    async with fake_swarm([Span(0, 2)]) as swarm, opened(route_through(swarm)) as chain:
        swarm.members[0].engine.spoil = spoil
        with pytest.raises(HopFailedError, match="where"):
            await run(chain, random_hidden(1), 0)


async def test_a_server_that_answers_nothing_is_given_up_in_time():
    async with fake_swarm([Span(0, 2)]) as swarm, opened(route_through(swarm), step_seconds=0.2) as chain:
        gate = threading.Event()
        swarm.members[0].engine.before_forward = lambda: gate.wait(10) and None
        with pytest.raises(HopFailedError, match="no answer") as failed:
            await run(chain, random_hidden(1), 0)
        gate.set()
    assert not failed.value.certain


async def test_nobody_without_its_key_gets_a_lane_into_a_session():
    """Neither to send steps nor to read results, nor in the place of somebody who is there already."""
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, opened(route_through(swarm)) as chain:
        last = swarm.members[1]
        (session,) = last.sessions._sessions.values()
        await run(chain, random_hidden(1), 0)
        for hello in (
            Hello(Role.STEPS, session.id, bytes(32)),
            Hello(Role.RESULTS, session.id, bytes(32)),
            Hello(Role.RESULTS, session.id, session.results_key),
            Hello(Role.STEPS, session.id, session.steps_key),
            Hello(Role.STEPS, bytes(16), session.steps_key),
        ):
            assert await is_closed_after(last, hello.pack())
        await run(chain, random_hidden(1), 1)


@pytest.mark.parametrize("first", [b"", b"x", bytes(49), b"\x03" + bytes(48), bytes(50)])
async def test_a_lane_that_does_not_say_hello_is_closed(first):
    async with fake_swarm([Span(0, 2)]) as swarm:
        assert await is_closed_after(swarm.members[0], first)


async def test_strangers_do_not_pile_up(monkeypatch):
    """Who connects and says nothing is closed when more come; sessions still get through."""
    monkeypatch.setattr("p2pinfer.server.runner.MAX_STRANGERS", 3)
    async with fake_swarm([Span(0, 2)]) as swarm, AsyncExitStack() as stack:
        member = swarm.members[0]
        lanes = [await stack.enter_async_context(lane_to(address_of(member), None, 2.0)) for _ in range(6)]
        await until(lambda: len(member.runner._strangers) == 3)
        async with opened(route_through(swarm)) as chain:
            await run(chain, random_hidden(1), 0)
        for lane in lanes:
            lane.close()


@pytest.mark.parametrize(
    "first", [b"p2pinfer lane 2\n", b"p2p", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01junk", b""]
)
async def test_whatever_connects_the_door_stays_open(first):
    async with fake_swarm([Span(0, 2)]) as swarm:
        reader, writer = await asyncio.open_connection("127.0.0.1", swarm.members[0].port)
        writer.write(first)
        writer.write_eof()
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
        async with opened(route_through(swarm)) as chain:
            await run(chain, random_hidden(1), 0)


async def test_a_client_that_does_not_read_its_results_stalls_nobody_else():
    """What one client's network doesn't take waits with the event loop; others' steps go on."""
    async with fake_swarm([Span(0, 2)]) as swarm, opened(route_through(swarm), max_tokens=512) as slow:
        await run(slow, random_hidden(1), 0)
        (session,) = swarm.members[0].sessions._sessions.values()
        session.outputs._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        slow._results._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        prefill = np.tile(random_hidden(1), (500, 1))
        steps = [slow.send([RowChunk(0, 0, prefill)], Outputs.ALL) for _ in range(10)]  # 16 KB each, and back
        await until(lambda: session.flushing is not None)
        async with opened(route_through(swarm)) as quick:
            output = await run(quick, random_hidden(1), 0)
        await until(lambda: session.flushing is not None)  # between two frames it is not, for a moment
        results = [(await asyncio.to_thread(slow.receive, step, 500)).hidden for step in steps]

    assert np.array_equal(output, run_locally(random_hidden(1), 2))
    assert all(hidden.tobytes() == results[0].tobytes() for hidden in results)


async def test_an_opening_can_not_be_replayed_or_altered(monkeypatch):
    """Seen on the wire by a next hop, say: it is good once, at one server, as it was signed."""
    seen: list[pb.Opening] = []

    def watching(*args):
        seen.append(sign_opening(*args))
        return seen[-1]

    monkeypatch.setattr("p2pinfer.client.chain.sign_opening", watching)
    async with fake_swarm([Span(0, 2)]) as swarm:
        async with opened(route_through(swarm)):
            pass
        altered = pb.Opening()
        altered.CopyFrom(seen[0])
        terms = pb.Terms.FromString(altered.terms)
        terms.session_id = os.urandom(16)
        altered.terms = terms.SerializeToString()
        pool = ChannelPool()
        async with pool.connected(address_of(swarm.members[0])) as channel:
            for opening in (seen[0], altered, pb.Opening(), pb.Opening(terms=b"\xff" * 100)):
                call = InferenceStub(channel).Session(opening)
                assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        await pool.close()


@pytest.mark.parametrize(
    "spoiled",
    [{"steps_key": b"short"}, {"results_key": b""}, {"session_id": b"1"}, {"wire_dtype": 9}, {"rows": 0}],
)
async def test_terms_that_are_malformed_are_refused(spoiled):
    async with fake_swarm([Span(0, 2)]) as swarm:
        member = swarm.members[0]
        assert await status_of_opening(member, results_key=bytes(32)) is None
        status = await status_of_opening(member, **{"results_key": bytes(32)} | spoiled)
        assert status is grpc.StatusCode.UNAUTHENTICATED
        await until(lambda: len(member.sessions) == 0)


async def test_a_session_that_found_no_next_hop_frees_its_caches(monkeypatch):
    caches = []
    make = FakeEngine.new_cache
    monkeypatch.setattr(FakeEngine, "new_cache", lambda *args: caches.append(make(*args)) or caches[-1])
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm:
        first, second = swarm.members
        await swarm.kill(second)
        downstream = pb.Downstream(record=second.record().record, steps_key=bytes(32))
        assert await status_of_opening(first, downstream=downstream) is grpc.StatusCode.UNAVAILABLE
        await until(lambda: all(cache.released for cache in caches))
    assert len(caches) == 1


async def status_of_opening(member: FakeServer, **fields) -> grpc.StatusCode | None:
    """Open a session of one row with these terms besides the usual ones; None if it was opened."""
    usual = {
        "session_id": os.urandom(16),
        "server": member.peer_id,
        "model": MODEL,
        "numerics": "fake-1",
        "end_layer": 2,
        "rows": 1,
        "max_tokens": 8,
        "issued_at": time.time(),
        "steps_key": bytes(32),
    }
    identity = Identity.ephemeral()
    opening = sign_opening(pb.Terms(**usual | fields), identity.public_key, identity.sign)
    pool = ChannelPool()
    try:
        async with pool.connected(address_of(member)) as channel:
            call = InferenceStub(channel).Session(opening)
            try:
                await call.read()
            except grpc.aio.AioRpcError as error:
                return error.code()
            call.cancel()
            return None
    finally:
        await pool.close()


async def test_200_sessions_leave_memory_descriptors_and_tasks_where_they_were():
    async with fake_swarm([Span(0, 1), Span(1, 2)]) as swarm:
        servers = route_through(swarm)
        pool = ChannelPool()
        shape = SessionShape(model=MODEL, hidden_size=HIDDEN_SIZE, rows=2, max_tokens=16)

        async def one() -> None:
            async with open_chain(
                servers, shape, pool=pool, identity=Identity.ephemeral(), step_seconds=5
            ) as chain:
                await run(chain, random_hidden(2), 0)

        for _ in range(5):
            await one()
        await until(lambda: all(len(member.sessions) == 0 for member in swarm.members))
        tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        for _ in range(200):
            await one()
        await until(lambda: all(len(member.sessions) == 0 for member in swarm.members))
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        gc.collect()

        assert len(os.listdir("/proc/self/fd")) <= descriptors + 1
        assert all(member.sessions.free_cache_tokens == member.cache_tokens for member in swarm.members)
        await pool.close()


async def is_closed_after(member: FakeServer, first: bytes) -> bool:
    """Open a lane, send these bytes as its first frame, and see whether the server closes it."""
    async with lane_to(address_of(member), None, 2.0) as lane:
        lane.send(first)
        try:
            async with asyncio.timeout(5):
                while lane.receive() is None:
                    await ready(lane._socket, "read")
        except (EOFError, OSError):
            return True
        finally:
            lane.close()
    return False


def address_of(member: FakeServer) -> Address:
    record = member.record()
    return Address(record.peer_id, record.endpoints, record.certificate)


async def until(condition, seconds: float = 5.0) -> None:
    """Let the loop run until the condition holds; fails after a limit instead of hanging."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  there is no event for "all is free"
            await asyncio.sleep(0.01)
