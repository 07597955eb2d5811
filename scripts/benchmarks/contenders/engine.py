"""All layers in one engine of p2pinfer, with the client's ends around it, and no network."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine import load_engine
from p2pinfer.model.engine.base import Chunk, Engine
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.contenders.clock import Clock


def load(store: str) -> dict[str, Callable[..., dict[str, Any]]]:
    """Load every layer and both ends."""
    opened = LayerStore.open(Path(store))
    whole = _Whole(load_engine(opened, opened.span), ClientEnds.load(opened))
    return {"decode": whole.decode, "prefill": whole.prefill}


class _Whole:
    """A model that runs without a swarm."""

    def __init__(self, engine: Engine, ends: ClientEnds) -> None:
        self._engine = engine
        self._ends = ends

    def decode(self, prompts: list[list[int]], tokens: int) -> dict[str, Any]:
        """Greedy tokens for every prompt, and the seconds of layers and ends after the first tokens."""
        caches = [self._engine.new_cache() for _ in prompts]
        ids = [np.array(prompt) for prompt in prompts]
        rows: list[list[int]] = [[] for _ in prompts]
        layers_seconds = ends_seconds = 0.0
        clock = Clock()
        for count in range(tokens):
            began = time.perf_counter()
            chunks = [Chunk(cache, self._ends.embed(new)) for cache, new in zip(caches, ids, strict=True)]
            embedded = time.perf_counter()
            states = self._engine.forward(chunks)
            computed = time.perf_counter()
            logits = self._ends.logits(np.concatenate([hidden[-1:] for hidden in states]))
            ids = [np.array([token]) for token in logits.argmax(axis=1)]
            for row, new in zip(rows, ids, strict=True):
                row.append(int(new[0]))
            clock.tick()
            if count > 0:
                layers_seconds += computed - embedded
                ends_seconds += clock.ticks[-1] - computed + embedded - began
        for cache in caches:
            cache.release()
        return clock.answer(rows) | {"layers_seconds": layers_seconds, "ends_seconds": ends_seconds}

    def prefill(self, prompt: list[int]) -> dict[str, Any]:
        """The scores that follow one prompt, whose layers are run in one step."""
        started = time.perf_counter()
        cache = self._engine.new_cache()
        (hidden,) = self._engine.forward([Chunk(cache, self._ends.embed(np.array(prompt)))])
        token = int(self._ends.logits(hidden[-1:])[0].argmax())
        seconds = time.perf_counter() - started
        cache.release()
        return {"tokens": [[token]], "seconds": seconds}
