"""An engine of plain arithmetic, with the real interface.

It is deterministic, depends on position and history, and gives the same results wherever layers are cut into
spans, so that a wrong token, a lost row or a doubled append changes its output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from p2pinfer.model.engine.base import Chunk, Hidden, SequenceCache
from p2pinfer.types import Span

HIDDEN_SIZE = 8


@dataclass(slots=True)
class FakeCache:
    """Per layer, the running sums that the arithmetic needs."""

    layers: Span
    sums: list[np.ndarray] = field(default_factory=list)  # per token: [layers, hidden]
    released: bool = False

    @property
    def length(self) -> int:
        return len(self.sums)

    def rewind(self, length: int) -> None:
        if length > len(self.sums):
            raise ValueError("beyond the end")
        del self.sums[length:]

    def extend_from(self, source: SequenceCache, length: int) -> None:
        assert isinstance(source, FakeCache) and not source.released
        if not self.length <= length <= source.length:
            raise ValueError("beyond the end")
        self.sums.extend(source.sums[self.length : length])

    def release(self) -> None:
        self.released = True


@dataclass(slots=True)
class FakeEngine:
    """Layer i maps x to x/2 + (i + 1) * (position + 1) / 64 + the sum of all its inputs so far / 4."""

    span: Span
    hidden_size: int = HIDDEN_SIZE
    numerics: str = "fake-1"
    weight_bytes: int = 1
    cache_bytes_per_token: int = 1
    before_forward: Callable[[], None] = lambda: None
    spoil: Callable[[Hidden], Hidden] = lambda hidden: hidden
    batch_sizes: list[int] = field(default_factory=list)
    batch_tokens: list[int] = field(default_factory=list)

    def new_cache(self, layers: Span | None = None) -> FakeCache:
        return FakeCache(layers or self.span)

    def forward(self, chunks: Sequence[Chunk]) -> list[Hidden]:
        self.before_forward()
        self.batch_sizes.append(len(chunks))
        self.batch_tokens.append(sum(len(chunk.hidden) for chunk in chunks))
        return [self.spoil(self._run(chunk)) for chunk in chunks]

    def _run(self, chunk: Chunk) -> Hidden:
        cache = chunk.cache
        assert isinstance(cache, FakeCache) and not cache.released
        outputs = []
        for row in chunk.hidden:
            sums = []
            for index, layer in enumerate(range(cache.layers.start, cache.layers.end)):
                seen = cache.sums[-1][index] if cache.sums else np.zeros_like(row)
                seen = (seen / 2 + row).astype(np.float32)
                sums.append(seen)
                row = (row / 2 + (layer + 1) * (cache.length + 1) / 64 + seen / 4).astype(np.float32)
            cache.sums.append(np.stack(sums))
            outputs.append(row)
        return np.stack(outputs)
