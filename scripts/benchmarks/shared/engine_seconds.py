"""What the steps of an engine take when it has the machine to itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from p2pinfer.model.engine.base import Chunk, Engine, Hidden

TIMED = 8


def decode_seconds(engine: Engine, rows: int, length: int) -> float:
    """Median seconds of a step with one token of each row, whose caches hold `length` tokens."""
    noise = noise_states(max(rows, length), engine.hidden_size)
    caches = [engine.new_cache() for _ in range(rows)]
    for cache in caches:
        engine.forward([Chunk(cache, noise[:length])])
    seconds = median_seconds(
        lambda: engine.forward([Chunk(cache, noise[row : row + 1]) for row, cache in enumerate(caches)])
    )
    for cache in caches:
        cache.release()
    return seconds


def prefill_seconds(engine: Engine, tokens: int, *, behind: int, step_tokens: int) -> float:
    """Seconds of the steps that bring a prompt of so many tokens, of which the first `behind` are there."""
    noise = noise_states(tokens, engine.hidden_size)
    cache = engine.new_cache()
    if behind:
        engine.forward([Chunk(cache, noise[:behind])])
    started = time.perf_counter()
    for start in range(behind, tokens, step_tokens):
        engine.forward([Chunk(cache, noise[start : min(tokens, start + step_tokens)])])
    seconds = time.perf_counter() - started
    cache.release()
    return seconds


def median_seconds(work: Callable[[], Any]) -> float:
    """The median of some times, after one that isn't counted."""
    times = []
    for _ in range(TIMED + 1):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times[1:])


def noise_states(tokens: int, hidden_size: int) -> Hidden:
    """Hidden states [tokens, hidden_size] to compute with: the same ones every time."""
    return np.random.default_rng(0).standard_normal((tokens, hidden_size), dtype=np.float32)
