"""Steps that wait run together; a long one stalls nobody, and a dropped one is not run."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.server.batcher import Batcher, Rows, plan_batch
from p2pinfer.types import Span
from p2pinfer.wire.status import Refused
from tests.fakes import SPEED, FakeEngine, random_hidden, run_locally


@given(st.lists(st.integers(1, 600), min_size=1, max_size=40))
def test_a_batch_keeps_its_budget_and_always_takes_the_oldest(tokens):
    chosen = plan_batch(tokens, 512)
    assert chosen[0] == 0
    assert len(chosen) == 1 or sum(tokens[index] for index in chosen) <= 512


def test_decoding_steps_go_before_a_second_prefill():
    assert plan_batch([1, 500, 1, 1, 400], 512) == [0, 2, 3, 4]
    assert plan_batch([500, 500, 1], 512) == [0, 2]


async def test_steps_that_arrive_while_a_batch_runs_are_run_together():
    gate = threading.Event()
    engine = FakeEngine(Span(0, 2), before_forward=lambda: gate.wait(5) and None)
    hidden = [random_hidden(1, seed) for seed in range(5)]
    with Batcher(engine, SPEED, asyncio.get_running_loop()) as batcher:
        steps = [asyncio.ensure_future(batcher.run([Rows(engine.new_cache(), 0, row)])) for row in hidden]
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
            await batcher.run([Rows(engine.new_cache(), 0, random_hidden(1))])
        done = await batcher.run([Rows(engine.new_cache(), 0, random_hidden(1))])
    assert np.array_equal(done.outputs[0], run_locally(random_hidden(1), 1))


async def test_a_step_whose_session_ends_while_it_waits_is_dropped_and_not_run_on_freed_memory():
    started, gate = threading.Event(), threading.Event()

    def wait_at_the_gate() -> None:
        started.set()
        gate.wait(5)

    engine = FakeEngine(Span(0, 1), before_forward=wait_at_the_gate)
    with Batcher(engine, SPEED, asyncio.get_running_loop()) as batcher:
        running = asyncio.ensure_future(batcher.run([Rows(engine.new_cache(), 0, random_hidden(1))]))
        await asyncio.to_thread(started.wait, 5)
        cache = engine.new_cache()
        waiting = asyncio.ensure_future(batcher.run([Rows(cache, 0, random_hidden(1))]))
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
        await batcher.run([Rows(engine.new_cache(), 0, random_hidden(1))])
        await batcher.run([Rows(engine.new_cache(), 0, random_hidden(64))])
    assert 0 < batcher.decode_seconds_per_layer != SPEED.decode_seconds_per_layer
    assert 0 < batcher.prefill_tokens_per_second != SPEED.prefill_tokens_per_second
