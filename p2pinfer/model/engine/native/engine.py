"""The fast engine on CPUs: a whole span in compiled code, exact to the bit.

The same tokens give the same bytes, whoever else is in the call, however a prefill was cut, on any
number of threads and on every instruction set: all of them round alike (see src/kernels.hpp).
This file loads tensors, keeps caches, and checks every bound before the compiled code sees it.
"""

from __future__ import annotations

import ctypes
import json
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import StoreError, UnsupportedModelError
from p2pinfer.model.engine.base import Chunk, Hidden, SequenceCache
from p2pinfer.model.engine.native import library as native_library
from p2pinfer.model.engine.native.config import ACTIVATIONS, NativeShape, read_shape
from p2pinfer.model.engine.native.library import LINEARS, NORMS, check
from p2pinfer.types import Span

NUMERICS = "native-w8a8h64-1"
"""INT8 weights with a scale per row and INT8 activations with one per group of 64, both rotated within
groups of 64 before they are rounded (p2pinfer/hadamard.py). Raise the number when any bit changes."""

MAX_TOKENS = 1 << 24
"""Of one sequence: positions up to here have exact float32 angles."""
_UNLIMITED = (1 << 63) - 1
_LINEAR_NAMES = dict(
    zip(
        LINEARS,
        (*(f"self_attn.{x}_proj" for x in "qkvo"), *(f"mlp.{x}_proj" for x in ("gate", "up", "down"))),
        strict=True,
    )
)


class TensorStore(Protocol):
    """What the engine needs of a model on disk."""

    folder: Path

    def layer_tensors(self, layer: int) -> Mapping[str, NDArray[Any]]:
        """Tensors of one layer by transformers' parameter names; see model/layer_store/store.py."""


def unavailable_reason() -> str | None:
    """Why this installation has no native engine, in one line; None if it has."""
    return native_library.unavailable_reason()


def available() -> bool:
    """True if the compiled library is there and loads."""
    return unavailable_reason() is None


def supports(config: Mapping[str, Any]) -> str | None:
    """Why the engine can't run a model with this config.json, in one line; None if it can."""
    try:
        read_shape(config)
    except UnsupportedModelError as error:
        return str(error)
    return None


class NativeCache:
    """A `SequenceCache` in the library's memory. Made by `NativeEngine.new_cache`.

    May be released by any thread at any time; a release during a running step takes effect after it.
    """

    def __init__(self, engine: NativeEngine, layers: Span, handle: ctypes.c_void_p) -> None:
        self._engine = engine
        self._free = weakref.finalize(self, engine._library.p2p_sequence_free, handle)
        self._handle = handle
        self.layers = layers
        self._length = 0
        self._running = False
        self._released = False

    @property
    def length(self) -> int:
        """Tokens held."""
        return self._length

    def rewind(self, length: int) -> None:
        """Forget the tokens from `length` on. Raises ValueError if it holds fewer or is in use."""
        with self._engine._lock:
            if self._released or self._running:
                raise ValueError("a released cache or one that a step is using can't be rewound")
            if not 0 <= length <= self._length:
                raise ValueError(f"can't go back to {length} tokens: the cache holds {self._length}")
            check(self._engine._library.p2p_sequence_rewind(self._handle, length))
            self._length = length

    def release(self) -> None:
        """Give the memory back. Releasing twice is harmless."""
        with self._engine._lock:
            self._released = True
            if not self._running:
                self._free()


class NativeEngine:
    """An `Engine` for the families of native_config.FAMILIES. Made by `load`."""

    def __init__(
        self,
        shape: NativeShape,
        span: Span,
        *,
        threads: int | None = None,
        max_cache_tokens: int | None = None,
        isa: str | None = None,
    ) -> None:
        """Set memory aside for the span's weights; `fill_layer` brings them. Prefer `load`."""
        if span.end > len(shape.layers):
            raise ValueError(f"the model has {len(shape.layers)} layers, not {span}")
        self._library = native_library.library()
        self._shape, self._span = shape, span
        self._lock = threading.Lock()
        limit = _UNLIMITED if max_cache_tokens is None else max_cache_tokens * len(span)
        described = native_library.Shape(
            layers=len(span),
            hidden=shape.hidden,
            intermediate=shape.intermediate,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            epsilon=shape.epsilon,
            attention_scale=shape.attention_scale,
            attention_softcap=shape.attention_softcap,
            activation=ACTIVATIONS.index(shape.activation),
            norms=sum(1 << NORMS.index(place) for place in shape.norms),
            threads=threads or native_library.default_threads(),
            isa=native_library.isa_value(isa),
            max_cache_layer_tokens=limit,
        )
        handle = ctypes.c_void_p()
        check(self._library.p2p_model_create(ctypes.byref(described), ctypes.byref(handle)))
        self._handle = handle
        weakref.finalize(self, self._library.p2p_model_free, handle)
        for index, rotary in enumerate(shape.rotaries):
            frequencies = np.ascontiguousarray(rotary.frequencies, np.float32)
            check(self._library.p2p_model_set_rotary(handle, index, frequencies.ctypes.data, rotary.factor))
        for index, layer in enumerate(shape.layers[span.start : span.end]):
            check(self._library.p2p_model_set_layer(handle, index, layer.window_tokens, layer.rotary))

    @classmethod
    def load(
        cls,
        store: TensorStore,
        span: Span,
        *,
        threads: int | None = None,
        max_cache_tokens: int | None = None,
        isa: str | None = None,
    ) -> NativeEngine:
        """Read and pack the span's layers, and no others.

        `max_cache_tokens` bounds the tokens that whole-span caches hold together (None: only memory
        does). Raises UnsupportedModelError, StoreError for tensors that don't fit the config,
        UsageError if the library or the instruction set isn't there, and MemoryError.
        """
        config = json.loads((store.folder / "config.json").read_text("utf-8"))
        engine = cls(read_shape(config), span, threads=threads, max_cache_tokens=max_cache_tokens, isa=isa)
        for layer in range(span.start, span.end):
            engine.fill_layer(layer, store.layer_tensors(layer))
        return engine

    @property
    def span(self) -> Span:
        """The layers it holds."""
        return self._span

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return self._shape.hidden

    @property
    def numerics(self) -> str:
        """The same on every machine that runs this engine, and so are the bytes."""
        return NUMERICS

    @property
    def weight_bytes(self) -> int:
        """Memory that weights, scales, biases and norms take."""
        return int(self._library.p2p_model_weight_bytes(self._handle))

    @property
    def cache_bytes_per_token(self) -> int:
        """Keys and values of one token in all layers, float32. Memory is taken 16 tokens at a time."""
        padded_head_dim = -(-self._shape.head_dim // 16) * 16
        return 4 * len(self._span) * self._shape.kv_heads * (self._shape.head_dim + padded_head_dim)

    @property
    def cache_bytes(self) -> int:
        """Memory that all caches take now."""
        return int(self._library.p2p_model_cache_bytes(self._handle))

    @property
    def cache_layer_tokens(self) -> int:
        """What all caches hold now: tokens times the layers they hold them for."""
        return int(self._library.p2p_model_cache_layer_tokens(self._handle))

    def fill_layer(self, layer: int, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Pack one layer's tensors. Raises StoreError if they don't fit the config."""
        shape, left = self._shape, dict(tensors)
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        sizes = {"q": (queries, shape.hidden), "k": (keys, shape.hidden), "v": (keys, shape.hidden)}
        sizes |= {"o": (shape.hidden, queries), "down": (shape.hidden, shape.intermediate)}
        sizes |= dict.fromkeys(("gate", "up"), (shape.intermediate, shape.hidden))
        index = layer - self._span.start
        for which, linear in enumerate(LINEARS):
            name, size = _LINEAR_NAMES[linear], sizes[linear]
            weight = _take(left, f"{name}.weight", np.int8, size)
            scale = _take(left, f"{name}.weight_scale", np.float32, size[:1])
            bias = _take(left, f"{name}.bias", np.float32, size[:1]) if f"{name}.bias" in left else None
            if linear in ("o", "down") and shape.residual_scale != 1.0:
                scale = scale * np.float32(shape.residual_scale)
                bias = None if bias is None else bias * np.float32(shape.residual_scale)
            check(
                self._library.p2p_model_set_linear(
                    self._handle,
                    index,
                    which,
                    weight.ctypes.data,
                    scale.ctypes.data,
                    None if bias is None else bias.ctypes.data,
                )
            )
        for which, place in enumerate(NORMS):
            if place not in shape.norms:
                continue
            width = shape.head_dim if place in ("query", "key") else shape.hidden
            norm = _take(left, shape.norms[place], np.float32, (width,)) + np.float32(shape.norm_offset)
            check(self._library.p2p_model_set_norm(self._handle, index, which, norm.ctypes.data))
        if left:
            raise StoreError(f"layer {layer} has tensors that its family doesn't: {', '.join(sorted(left))}")

    def new_cache(self, layers: Span | None = None) -> SequenceCache:
        """An empty cache for the whole span or for some of its layers."""
        layers = layers or self._span
        if not layers.within(self._span):
            raise ValueError(f"this engine holds layers {self._span}, not {layers}")
        handle = ctypes.c_void_p()
        first = layers.start - self._span.start
        check(self._library.p2p_sequence_create(self._handle, first, len(layers), ctypes.byref(handle)))
        return NativeCache(self, layers, handle)

    def forward(self, chunks: Sequence[Chunk]) -> list[Hidden]:
        """Run every chunk; if this raises, no cache has changed.

        Raises ValueError for chunks that don't fit, TypeError for another engine's caches, and
        MemoryError if max_cache_tokens or memory is used up.
        """
        if not chunks:
            return []
        caches = [self._own(chunk.cache) for chunk in chunks]
        inputs = [self._checked(chunk.hidden) for chunk in chunks]
        given = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        out = np.empty_like(given)
        counts = [len(hidden) for hidden in inputs]
        self._begin(caches, counts)
        try:
            handles = (ctypes.c_void_p * len(caches))(*(cache._handle.value for cache in caches))
            tokens = (ctypes.c_int32 * len(caches))(*counts)
            check(
                self._library.p2p_model_forward(
                    self._handle, len(caches), handles, tokens, given.ctypes.data, out.ctypes.data
                )
            )
            for cache, count in zip(caches, counts, strict=True):
                cache._length += count
        finally:
            self._end(caches)
        if len(counts) == 1:
            return [out]
        ends = np.cumsum(counts)
        return [out[end - count : end] for end, count in zip(ends, counts, strict=True)]

    def _own(self, cache: SequenceCache) -> NativeCache:
        if not isinstance(cache, NativeCache) or cache._engine is not self:
            raise TypeError("a native engine needs caches that it made itself")
        return cache

    def _checked(self, hidden: Hidden) -> Hidden:
        if hidden.dtype != np.float32 or hidden.shape != (len(hidden), self._shape.hidden) or not len(hidden):
            raise ValueError(
                f"a chunk is float32 [tokens, {self._shape.hidden}], not {hidden.dtype} {hidden.shape}"
            )
        return np.ascontiguousarray(hidden)

    def _begin(self, caches: Sequence[NativeCache], counts: Sequence[int]) -> None:
        with self._lock:
            if len(set(map(id, caches))) != len(caches):
                raise ValueError("a cache appears twice in one call")
            for cache, count in zip(caches, counts, strict=True):
                if cache._released or cache._running:
                    raise ValueError("a cache was released or is part of another call")
                if cache.layers != caches[0].layers:
                    raise ValueError("the caches of one call are for different layers")
                if cache._length + count > MAX_TOKENS:
                    raise ValueError(f"a sequence has at most {MAX_TOKENS} tokens")
            for cache in caches:
                cache._running = True

    def _end(self, caches: Sequence[NativeCache]) -> None:
        with self._lock:
            for cache in caches:
                cache._running = False
                if cache._released:
                    cache._free()


def _take(
    tensors: dict[str, NDArray[Any]], name: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Remove a tensor from the dict, checked and contiguous."""
    tensor = tensors.pop(name, None)
    if tensor is None:
        raise StoreError(f"a layer's file lacks {name}: convert again")
    if tensor.dtype != dtype or tensor.shape != shape:
        raise StoreError(
            f"{name} should be {np.dtype(dtype)} {shape}, not {tensor.dtype} {tensor.shape}: convert again"
        )
    return np.ascontiguousarray(tensor)
