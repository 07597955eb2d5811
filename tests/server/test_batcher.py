"""Steps that wait run together; a long one stalls nobody, and a dropped one is not run."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from p2pinfer.server.batcher import Batcher, Rows
from p2pinfer.types import Span
from p2pinfer.wire.status import Refused
from tests.fakes import SPEED, FakeEngine, random_hidden, run_locally

CLIENT = b"client"


async def test_steps_that_arrive_while_a_batch_runs_are_run_together():
    gate = threading.Event()
    engine = FakeEngine(Span(0, 2), before_forward=lambda: gate.wait(5) and None)
    hidden = [random_hidden(1, seed) for seed in range(5)]
    with Batcher(engine, SPEED, asyncio.get_running_loop()) as batcher:
        steps = [
            asyncio.ensure_future(batcher.run(CLIENT, [Rows(engine.new_cache(), 0, row)])) for row in hidden
        ]
        await asyncio.sleep(0)
        assert batcher.queue_depth == 5
        gate.set()
        done = await asyncio.gather(*steps)

    assert all(
        np.array_equal(result.outputs[0], run_locally(row, 2))
        for result, row in zip(done, hidden, strict=True)
    )
    assert engine.batch_sizes in ([1, 4], [2, 3], [3, 2], [4, 1], [5])
    assert batcher.queue_depth == 0


async def test_an_engine_that_fails_fails_the_step_and_not_the_thread():
    failures = iter([MemoryError("no room")])

    def fail_once() -> None:
        if error := next(failures, None):
            raise error

    engine = FakeEngine(Span(0, 1), before_forward=fail_once)
    with Batcher(engine, SPEED, asyncio.get_running_loop()) as batcher:
        with pytest.raises(MemoryError):
            await batcher.run(CLIENT, [Rows(engine.new_cache(), 0, random_hidden(1))])
        done = await batcher.run(CLIENT, [Rows(engine.new_cache(), 0, random_hidden(1))])
    assert np.array_equal(done.outputs[0], run_locally(random_hidden(1), 1))


async def test_a_step_whose_session_ends_while_it_waits_is_dropped_and_not_run_on_freed_memory():
    started, gate = threading.Event(), threading.Event()

    def wait_at_the_gate() -> None:
        started.set()
        gate.wait(5)

    engine = FakeEngine(Span(0, 1), before_forward=wait_at_the_gate)
    with Batcher(engine, SPEED, asyncio.get_running_loop()) as batcher:
        running = asyncio.ensure_future(batcher.run(CLIENT, [Rows(engine.new_cache(), 0, random_hidden(1))]))
        await asyncio.to_thread(started.wait, 5)
        cache = engine.new_cache()
        waiting = asyncio.ensure_future(batcher.run(CLIENT, [Rows(cache, 0, random_hidden(1))]))
        await asyncio.sleep(0)
        batcher.release([cache])
        gate.set()
        await running
        with pytest.raises(Refused, match="ended"):
            await waiting
    assert cache.released
    assert engine.batch_sizes == [1]


async def test_speeds_are_measured_while_serving():
    engine = FakeEngine(Span(0, 2))
    with Batcher(engine, SPEED, asyncio.get_running_loop()) as batcher:
        await batcher.run(CLIENT, [Rows(engine.new_cache(), 0, random_hidden(1))])
        await batcher.run(CLIENT, [Rows(engine.new_cache(), 0, random_hidden(64))])
    assert 0 < batcher.decode_seconds_per_layer != SPEED.decode_seconds_per_layer
    assert 0 < batcher.prefill_tokens_per_second != SPEED.prefill_tokens_per_second


async def test_a_long_prefill_is_cut_where_others_decode_and_comes_out_the_same():
    """The decoding session waits for a slice of the document, not for all of it."""
    started, gate = threading.Event(), threading.Event()

    def wait_at_the_gate() -> None:
        started.set()
        gate.wait(5)

    engine = FakeEngine(Span(0, 2), before_forward=wait_at_the_gate)
    document, tokens = random_hidden(400, 1), random_hidden(3, 2)
    cache = engine.new_cache()
    with Batcher(engine, SPEED, asyncio.get_running_loop()) as batcher:
        first = asyncio.ensure_future(batcher.run(b"reader", [Rows(cache, 0, tokens[:1])]))
        await asyncio.to_thread(started.wait, 5)
        prefill = asyncio.ensure_future(batcher.run(b"writer", [Rows(engine.new_cache(), 0, document)]))
        await asyncio.sleep(0)
        gate.set()
        outputs = [(await first).outputs[0]]
        for position in (1, 2):
            outputs.append(
                (await batcher.run(b"reader", [Rows(cache, position, tokens[position:][:1])])).outputs[0]
            )
        done = await prefill

    assert np.array_equal(done.outputs[0], run_locally(document, 2))
    assert np.array_equal(np.concatenate(outputs), run_locally(tokens, 2))
    assert max(engine.batch_tokens) < len(document)


async def test_steps_that_wait_when_the_server_stops_are_answered():
    started, gate = threading.Event(), threading.Event()

    def wait_at_the_gate() -> None:
        started.set()
        gate.wait(5)

    engine = FakeEngine(Span(0, 1), before_forward=wait_at_the_gate)
    with Batcher(engine, SPEED, asyncio.get_running_loop()) as batcher:
        running = asyncio.ensure_future(batcher.run(CLIENT, [Rows(engine.new_cache(), 0, random_hidden(1))]))
        await asyncio.to_thread(started.wait, 5)
        waiting = asyncio.ensure_future(batcher.run(CLIENT, [Rows(engine.new_cache(), 0, random_hidden(1))]))
        await asyncio.sleep(0)
        batcher._inbox.put(None)
        late = asyncio.ensure_future(batcher.run(CLIENT, [Rows(engine.new_cache(), 0, random_hidden(1))]))
        gate.set()
        await running
        with pytest.raises(Refused, match="leaving"):
            await waiting
        late.cancel()
