"""How fast this machine runs its span: measured once before it is announced."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from p2pinfer.model.engine.base import Chunk, Engine

_PREFILL_TOKENS = 64
_DECODE_STEPS = 4


@dataclass(frozen=True, slots=True)
class Speed:
    """The rates of a single sequence."""

    decode_seconds_per_layer: float
    prefill_tokens_per_second: float  # through the whole span


def measure_speed(engine: Engine) -> Speed:
    """Run a short prefill and a few decode steps on noise. The fastest decode step counts."""
    noise = np.random.default_rng(0).standard_normal((_PREFILL_TOKENS, engine.hidden_size), dtype=np.float32)
    cache = engine.new_cache()
    try:
        engine.forward([Chunk(cache, noise[:1])])  # the first step pays for everything lazy
        started = time.perf_counter()
        engine.forward([Chunk(cache, noise)])
        prefill_seconds = time.perf_counter() - started
        steps = []
        for step in range(_DECODE_STEPS):
            started = time.perf_counter()
            engine.forward([Chunk(cache, noise[step : step + 1])])
            steps.append(time.perf_counter() - started)
    finally:
        cache.release()
    return Speed(min(steps) / len(engine.span), _PREFILL_TOKENS / prefill_seconds)
