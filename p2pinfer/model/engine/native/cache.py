"""The native engine's caches: one sequence each, in the library's memory."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from p2pinfer.model.engine.base import SequenceCache
from p2pinfer.model.engine.native.library import check, freed_with
from p2pinfer.types import Span

MAX_TOKENS = 1 << 24
"""The longest sequence: float32 angles are exact for positions below this."""


class NativeCache:
    """A `SequenceCache`. `NativeEngine.new_cache` makes it.

    Any thread may release it at any time. A release during a running step takes effect after the step.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        handle: ctypes.c_void_p,
        layers: Span,
        *,
        owner: object,
        lock: threading.Lock,
    ) -> None:
        """`owner` is the engine, which must outlive the cache. Its `lock` guards which caches are in use."""
        self.owner = owner
        self._library = library
        self._handle = handle
        self._free = freed_with(self, library.p2p_sequence_free, handle)
        self._lock = lock
        self.layers = layers
        self._length = 0
        self._running = False
        self._released = False

    @property
    def length(self) -> int:
        """Tokens held."""
        return self._length

    @property
    def handle(self) -> int | None:
        """The library's pointer."""
        return self._handle.value

    def rewind(self, length: int) -> None:
        """Forget the tokens from `length` on. Raises ValueError if it holds fewer or is in use."""
        with self._lock:
            if self._released or self._running:
                raise ValueError("a released cache or one that a step is using can't be rewound")
            if not 0 <= length <= self._length:
                raise ValueError(f"can't go back to {length} tokens: the cache holds {self._length}")
            check(self._library.p2p_sequence_rewind(self._handle, length))
            self._length = length

    def extend_from(self, source: SequenceCache, length: int) -> None:
        """Append the tokens of `source` from this cache's length on, up to `length` in all.

        Whole pages of 16 tokens are shared until one of the caches writes there.
        """
        if not isinstance(source, NativeCache) or source.owner is not self.owner:
            raise TypeError("a native cache can only copy from a cache of the same engine")
        start = self._length
        if source.layers != self.layers or not start <= length <= source.length:
            raise ValueError(f"can't copy tokens {start}:{length} of a cache that holds {source.length}")
        with steps_of((self, source), (length - start, 0)):
            check(self._library.p2p_sequence_extend(self._handle, source._handle, length))

    def release(self) -> None:
        """Give the memory back. Releasing twice is harmless."""
        with self._lock:
            self._released = True
            if not self._running:
                self._free()

    def _end_step(self, tokens: int) -> None:
        """With the lock held: the step has added `tokens`."""
        self._running = False
        self._length += tokens
        if self._released:
            self._free()


@contextmanager
def steps_of(caches: Sequence[NativeCache], tokens: Sequence[int]) -> Iterator[None]:
    """One step that adds tokens[i] to caches[i], all of one engine. If the block raises, no length changes.

    Raises ValueError for caches that can't take part in one call.
    """
    lock = caches[0]._lock
    with lock:
        _check_usable(caches, tokens)
        for cache in caches:
            cache._running = True
    added: Sequence[int] = [0] * len(caches)
    try:
        yield
        added = tokens
    finally:
        with lock:
            for cache, count in zip(caches, added, strict=True):
                cache._end_step(count)


def _check_usable(caches: Sequence[NativeCache], tokens: Sequence[int]) -> None:
    if len(set(map(id, caches))) != len(caches):
        raise ValueError("a cache appears twice in one call")
    for cache, count in zip(caches, tokens, strict=True):
        if cache._released or cache._running:
            raise ValueError("a cache was released or is part of another call")
        if cache.length + count > MAX_TOKENS:
            raise ValueError(f"a sequence has at most {MAX_TOKENS} tokens")
