"""How fast this machine runs its span: measured once before it is announced."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from p2pinfer.model.engine.base import Chunk, Engine
from p2pinfer.types import LayerSeconds

PREFILL_TOKENS = 64
BATCH_SIZES = (8, 32)
FAR_TOKENS = 512
"""How many tokens are cached when the cost of a long context is measured."""

_STEPS = 4
_BATCHES = 3
_PREFILLS = 2
_FILLING_SECONDS = 2.0
"""A slow machine measures at a shorter context, so that it is ready sooner."""


_UNMEASURED = ((1, 1.0), (2, 2.0))


@dataclass(frozen=True, slots=True)
class Speed:
    """What one token costs in one layer, alone, in a prefill, and with others in a batch of decode steps."""

    decode: LayerSeconds  # alone in its batch
    prefill: LayerSeconds  # as one of PREFILL_TOKENS
    batch_costs: tuple[tuple[int, float], ...] = _UNMEASURED
    """The seconds of a step of so many tokens without a context, in seconds of a step of one. Ascending."""

    @property
    def measured_costs(self) -> dict[int, float]:
        """The sizes of batches that were measured, beside one, and what they cost; empty: none was."""
        return {} if self.batch_costs == _UNMEASURED else dict(self.batch_costs[1:])

    def batch_cost(self, tokens: int) -> float:
        """The seconds of a decode batch without contexts, in seconds of a step of one token.

        Straight lines between the measured sizes, and the last of them beyond.
        """
        for (fewer, less), (more, most) in pairwise(self.batch_costs):
            if tokens <= more or (more, most) == self.batch_costs[-1]:
                return less + (most - less) * (tokens - fewer) / (more - fewer)
        return float(tokens)


def measure_speed(engine: Engine, room_tokens: int) -> Speed:
    """Run short steps on noise, without a context and with one. The fastest of several counts.

    A sequence of `room_tokens` tokens fits into the engine's caches; the measurement takes no more.
    """
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((PREFILL_TOKENS, engine.hidden_size), dtype=np.float32)
    cache = engine.new_cache()

    def seconds(tokens: int, context: int) -> float:
        if cache.length > context:
            cache.rewind(context)
        started = time.perf_counter()
        engine.forward([Chunk(cache, noise[:tokens])])
        return time.perf_counter() - started

    far_tokens = max(0, min(FAR_TOKENS, room_tokens - 1))
    chunk_tokens = max(1, min(PREFILL_TOKENS, far_tokens))
    layers = len(engine.span)
    try:
        seconds(1, 0)  # the first step pays for everything lazy
        near_prefill = min(seconds(chunk_tokens, 0) for _ in range(_PREFILLS))
        batches = {
            size: min(seconds(size, 0) for _ in range(_BATCHES))
            for size in BATCH_SIZES
            if size < chunk_tokens
        }
        near = min(seconds(1, 0) for _ in range(_STEPS))
        context = _fill(seconds, chunk_tokens, far_tokens)
        far_prefill = min(seconds(chunk_tokens, context) for _ in range(_PREFILLS))
        far_context = min(context + chunk_tokens, far_tokens)
        far = min(seconds(1, far_context) for _ in range(_STEPS))
    finally:
        cache.release()
    return Speed(
        decode=_line(near / layers, far / layers, far_context),
        prefill=_line(near_prefill / layers / chunk_tokens, far_prefill / layers / chunk_tokens, context),
        batch_costs=_batch_costs(
            {size: taken / near for size, taken in {**batches, chunk_tokens: near_prefill}.items()}
        ),
    )


def _fill(seconds: Callable[[int, int], float], chunk_tokens: int, far_tokens: int) -> int:
    """Prefill chunks while another one fits into `far_tokens`, or as long as time allows.

    Return the tokens before the last chunk.
    """
    started = time.perf_counter()
    context = 0
    while context + 2 * chunk_tokens <= far_tokens and time.perf_counter() - started < _FILLING_SECONDS:
        seconds(chunk_tokens, context)
        context += chunk_tokens
    return context


def _line(near_seconds: float, far_seconds: float, far_tokens: int) -> LayerSeconds:
    rise = max(0.0, far_seconds - near_seconds)
    return LayerSeconds(max(near_seconds, 1e-9), rise / far_tokens * 1024 if far_tokens else 0.0)


def _batch_costs(measured: Mapping[int, float]) -> tuple[tuple[int, float], ...]:
    """A bigger batch costs no less, and no more than its tokens one by one: the rest is noise."""
    costs = [(1, 1.0)]
    for tokens, cost in sorted(measured.items()):
        if tokens > costs[-1][0]:
            costs.append((tokens, min(max(cost, costs[-1][1]), float(tokens))))
    return tuple(costs) if len(costs) > 1 else _UNMEASURED
