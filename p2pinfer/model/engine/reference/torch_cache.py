"""Keys and values of one sequence in torch memory, float32, for all layers of a span."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from p2pinfer.model.engine.base import SequenceCache
from p2pinfer.types import Span

GROWTH_TOKENS = 64


class TorchCache:
    """A `SequenceCache` in one piece of memory: [layers, key or value, heads, tokens, head_dim].

    It grows by a quarter, in pages of 64 tokens: a sequence that doubles is copied three times, and at most
    a quarter of the memory is unused.

    Any thread may release it at any time. A release during a step takes effect when the step ends.
    """

    def __init__(self, layers: Span, num_heads: int, head_dim: int, device: torch.device) -> None:
        self._layers = layers
        self._length = 0
        self._lock = threading.Lock()
        self._released = False
        self._in_step = False
        self._store = torch.empty(len(layers), 2, num_heads, 0, head_dim, device=device)

    @property
    def layers(self) -> Span:
        """The layers that it stores."""
        return self._layers

    @property
    def length(self) -> int:
        """Tokens held."""
        return self._length

    @property
    def memory_bytes(self) -> int:
        """Memory taken, with the room for future tokens."""
        return self._store.nbytes

    def rewind(self, length: int) -> None:
        """Forget the tokens from `length` on."""
        with self._lock:
            if self._in_step or not 0 <= length <= self._length:
                raise ValueError(f"a cache of {self._length} tokens can't go back to {length}")
            self._length = length

    @torch.inference_mode()
    def extend_from(self, source: SequenceCache, length: int) -> None:
        """Append the tokens of `source` from this cache's length on, up to `length` in all."""
        if not isinstance(source, TorchCache):
            raise TypeError(f"a cache of the reference engine can't copy a {type(source).__name__}")
        start = self._length
        if source.layers != self._layers or not start <= length <= source.length:
            raise ValueError(f"can't copy tokens {start}:{length} of a cache that holds {source.length}")
        with steps_of((self, source), (length - start, 0)):
            self._store[:, :, :, start:length] = source._store[:, :, :, start:length]

    def release(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._released = True
            if not self._in_step:
                self._drop()

    def begin(self, tokens: int) -> None:
        """Begin a step that adds `tokens`, and make room for them. Raises ValueError if it was released."""
        with self._lock:
            if self._released or self._in_step:
                raise ValueError("the cache was released, or appears twice in one call")
            needed, capacity = self._length + tokens, self._store.shape[3]
            if needed > capacity:
                self._grow(max(needed, capacity + capacity // 4))
            self._in_step = True

    def end(self, tokens: int) -> None:
        """End the step. `tokens` were written in every layer; 0 if the step failed."""
        with self._lock:
            self._in_step = False
            self._length += tokens
            if self._released:
                self._drop()

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write [heads, tokens, head_dim] after the tokens held. They count from the end of the step on."""
        end = self._length + keys.shape[1]
        store = self._store[layer - self._layers.start]
        store[0, :, self._length : end] = keys
        store[1, :, self._length : end] = values

    def read(self, layer: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of the tokens [start, stop), each [heads, tokens, head_dim]."""
        store = self._store[layer - self._layers.start]
        return store[0, :, start:stop], store[1, :, start:stop]

    def _grow(self, wanted_tokens: int) -> None:
        shape = list(self._store.shape)
        shape[3] = -(-wanted_tokens // GROWTH_TOKENS) * GROWTH_TOKENS
        grown = self._store.new_empty(shape)
        grown[:, :, :, : self._length] = self._store[:, :, :, : self._length]
        self._store = grown

    def _drop(self) -> None:
        self._length = 0
        self._store = self._store.new_empty(0)


@contextmanager
def steps_of(caches: Sequence[TorchCache], tokens: Sequence[int]) -> Iterator[None]:
    """One step that adds tokens[i] to caches[i]. If the block raises, no length changes."""
    begun: list[TorchCache] = []
    done = False
    try:
        for cache, count in zip(caches, tokens, strict=True):
            cache.begin(count)
            begun.append(cache)
        yield
        done = True
    finally:
        for cache, count in zip(begun, tokens, strict=False):
            cache.end(count if done else 0)
