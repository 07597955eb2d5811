"""The native engine's caches: memory comes with tokens, goes with them, and is counted exactly."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest

from p2pinfer.model.engine.base import Chunk
from p2pinfer.model.engine.native.cache import NativeCache, steps_of
from p2pinfer.model.engine.native.config import LLAMA_NORMS, LayerShape
from p2pinfer.model.engine.native.engine import NativeEngine
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.model.engine.native.oracle import random_hidden, run_in_pieces, small_engine, small_shape

SHAPE = small_shape()
PAGE_TOKENS = 16


def tokens(count: int) -> np.ndarray:
    """Any activations."""
    return random_hidden(count, SHAPE.hidden)


def test_a_cache_takes_pages_as_tokens_come_and_gives_them_back():
    """Sixteen tokens a page, counted to the token and to the byte."""
    engine = small_engine(SHAPE)
    cache = engine.new_cache()
    page = PAGE_TOKENS * engine.cache_bytes_per_token
    seen = [engine.cache_bytes]
    for count in (1, 15, 1, 40):
        engine.forward([Chunk(cache, tokens(count))])
        seen.append(engine.cache_bytes)
    assert [size // page for size in seen] == [0, 1, 1, 2, 4]
    assert all(size % page == 0 for size in seen)
    assert engine.cache_layer_tokens == 2 * 57

    cache.rewind(16)
    assert (cache.length, engine.cache_bytes, engine.cache_layer_tokens) == (16, page, 32)
    cache.release()
    cache.release()
    assert (engine.cache_bytes, engine.cache_layer_tokens) == (0, 0)


def test_a_cache_of_some_layers_takes_memory_for_those_only():
    """Only these layers count against the limit."""
    engine = small_engine(SHAPE)
    cache = engine.new_cache(Span(1, 2))
    engine.forward([Chunk(cache, tokens(3))])

    assert engine.cache_bytes == PAGE_TOKENS * engine.cache_bytes_per_token // 2
    assert engine.cache_layer_tokens == 3


def test_a_full_cache_refuses_the_whole_call_and_changes_nothing():
    """The first chunk alone would fit. Neither is counted, and smaller chunks still work."""
    engine = small_engine(SHAPE, max_cache_tokens=20)
    first, second = engine.new_cache(), engine.new_cache()
    engine.forward([Chunk(first, tokens(10))])
    before = engine.cache_bytes
    with pytest.raises(MemoryError, match="cache is full"):
        engine.forward([Chunk(first, tokens(5)), Chunk(second, tokens(6))])
    assert (first.length, second.length, engine.cache_layer_tokens) == (10, 0, 20)
    assert engine.cache_bytes == before

    engine.forward([Chunk(first, tokens(5)), Chunk(second, tokens(5))])
    first.release()
    engine.forward([Chunk(second, tokens(15))])
    assert second.length == 20


def test_copies_share_whole_pages_until_one_of_them_writes_there():
    """Tokens count against the limit in each copy, as if it had been computed; bytes are counted once."""
    engine = small_engine(SHAPE, max_cache_tokens=100)
    page = PAGE_TOKENS * engine.cache_bytes_per_token
    source, copy = engine.new_cache(), engine.new_cache()
    engine.forward([Chunk(source, tokens(40))])
    copy.extend_from(source, 37)
    assert (engine.cache_bytes, engine.cache_layer_tokens) == (4 * page, 2 * 77)
    copy.rewind(20)
    assert engine.cache_bytes == 3 * page
    engine.forward([Chunk(copy, tokens(1))])
    assert engine.cache_bytes == 4 * page
    source.release()
    assert (engine.cache_bytes, engine.cache_layer_tokens) == (2 * page, 2 * 21)
    copy.release()
    assert (engine.cache_bytes, engine.cache_layer_tokens) == (0, 0)


def test_a_copy_that_finds_no_room_changes_nothing():
    engine = small_engine(SHAPE, max_cache_tokens=70)
    source, copy = engine.new_cache(), engine.new_cache()
    engine.forward([Chunk(source, tokens(40))])
    before = engine.cache_bytes
    with pytest.raises(MemoryError, match="cache is full"):
        copy.extend_from(source, 35)
    assert (copy.length, engine.cache_bytes, engine.cache_layer_tokens) == (0, before, 80)
    copy.extend_from(source, 30)
    assert copy.length == 30


def test_two_hundred_sessions_leave_no_memory_behind(smollm2: LayerStore):
    """Pages go back to the system, not to a free list."""
    engine = NativeEngine.load(smollm2, Span(0, 2), threads=1)
    hidden = np.ones((64, engine.hidden_size), np.float32)

    def session() -> None:
        cache = engine.new_cache()
        engine.forward([Chunk(cache, hidden)])
        cache.release()

    session()
    before = psutil.Process().memory_info().rss
    for _ in range(200):
        session()

    assert psutil.Process().memory_info().rss - before < 20 * 64 * engine.cache_bytes_per_token
    assert engine.cache_bytes == 0


def test_forgotten_caches_are_freed():
    """A session that dies with an exception may never call release."""
    engine = small_engine(SHAPE)
    cache = engine.new_cache()
    engine.forward([Chunk(cache, tokens(3))])
    del cache
    gc.collect()

    assert engine.cache_bytes == 0


def test_a_cache_may_outlive_every_other_reference_to_its_engine():
    cache = small_engine(SHAPE).new_cache()
    gc.collect()
    cache.release()


def test_a_cache_released_during_a_step_is_freed_after_it():
    """The session ends in the event loop while the compute thread runs."""
    engine = small_engine(SHAPE)
    cache = engine.new_cache()
    assert isinstance(cache, NativeCache)
    with steps_of([cache], [1]):
        cache.release()
        with pytest.raises(ValueError, match="released or is part of another call"):
            engine.forward([Chunk(cache, tokens(1))])

    assert engine.cache_bytes == 0


def test_sessions_open_and_close_while_a_step_runs():
    """Other threads open and close caches; the running sequences get the same bytes as alone."""
    shape = small_shape(norms=LLAMA_NORMS, layers=(LayerShape(window_tokens=0, rotary=0),) * 2)
    engine = small_engine(shape, threads=2)
    hidden = tokens(120)
    expected = run_in_pieces(engine, hidden, [120])
    stop = threading.Event()

    def visitors() -> None:
        while not stop.is_set():
            engine.new_cache().release()

    visitor = threading.Thread(target=visitors)
    visitor.start()
    try:
        found = run_in_pieces(engine, hidden, [1] * 120)
    finally:
        stop.set()
        visitor.join()

    np.testing.assert_array_equal(found, expected)


def test_calls_that_make_no_sense_are_refused():
    """Each with the reason, before the compiled code gets it, and without a change."""
    engine, other = small_engine(SHAPE), small_engine(SHAPE)
    cache, released = engine.new_cache(), engine.new_cache()
    released.release()
    for chunks, said in (
        ([Chunk(cache, tokens(1)), Chunk(cache, tokens(1))], "twice"),
        ([Chunk(cache, tokens(1)), Chunk(released, tokens(1))], "released"),
        ([Chunk(cache, tokens(1)[:, :-1])], "a chunk is"),
        ([Chunk(cache, tokens(1)[0])], "a chunk is"),
        ([Chunk(cache, tokens(0))], "a chunk is"),
        ([Chunk(cache, tokens(1).astype(np.float64))], "a chunk is"),
    ):
        with pytest.raises(ValueError, match=said):
            engine.forward(chunks)
    with pytest.raises(TypeError, match="made itself"):
        engine.forward([Chunk(other.new_cache(), tokens(1))])
    with pytest.raises(ValueError, match="holds layers 0:2"):
        engine.new_cache(Span(1, 3))
    for length in (-1, 1):
        with pytest.raises(ValueError, match="can't go back"):
            cache.rewind(length)
    with pytest.raises(ValueError, match="released"):
        released.rewind(0)

    assert (cache.length, engine.cache_layer_tokens) == (0, 0)
    assert engine.forward([]) == []


def test_input_is_not_modified_and_need_not_be_contiguous():
    """The caller may keep it for a replay, and cut it out of a larger array."""
    engine = small_engine(SHAPE)
    wide = random_hidden(6, 2 * SHAPE.hidden)
    wide.setflags(write=False)
    kept = wide.copy()
    [found] = engine.forward([Chunk(engine.new_cache(), wide[::2, ::2])])
    [expected] = engine.forward([Chunk(engine.new_cache(), np.ascontiguousarray(wide[::2, ::2]))])

    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(wide, kept)


def test_weights_take_at_most_eleven_tenths_of_a_byte_each(smollm2: LayerStore):
    """Packing, scales, biases and norms of the real model's layers included."""
    engine = NativeEngine.load(smollm2, Span(0, 3), threads=1)
    linear = sum(t.size for i in range(3) for t in smollm2.layer_tensors(i).values() if t.dtype == np.int8)

    assert linear <= engine.weight_bytes <= 1.1 * linear


ENDING_PROGRAM = """
import threading, time
from p2pinfer.model.engine.base import Chunk
from tests.model.engine.native.oracle import random_hidden, small_engine, small_shape
shape = small_shape()
engine, computing, many = small_engine(shape), threading.Event(), random_hidden(4096, shape.hidden)
def compute():
    while True:
        cache = engine.new_cache()
        computing.set()
        engine.forward([Chunk(cache, many)])
        cache.release()
threading.Thread(target=compute, daemon=True).start()
computing.wait()
time.sleep(0.05)
"""


def test_a_program_may_end_while_a_thread_computes() -> None:
    """As a server does that is asked to leave while it measures the speed of the layers it has loaded."""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", ENDING_PROGRAM], check=False, timeout=60)
        assert done.returncode == 0
