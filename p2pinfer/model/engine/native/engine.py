"""The fast engine on CPUs: a whole span in compiled code, exact to the bit.

The same tokens give the same bytes, whatever else is in the call, however a prefill is cut, on any
number of threads and on every instruction set: all of them round alike (see src/kernels/kernels.hpp).
This file owns the library's model and checks every bound before the compiled code sees it.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import UnsupportedModelError
from p2pinfer.model.engine.base import Chunk, Hidden, SequenceCache
from p2pinfer.model.engine.native import library
from p2pinfer.model.engine.native.cache import NativeCache, steps_of
from p2pinfer.model.engine.native.config import ACTIVATIONS, NativeShape, read_shape
from p2pinfer.model.engine.native.library import NORMS, check
from p2pinfer.model.engine.native.tensors import LayerTensors
from p2pinfer.outside.plain_json import read_json
from p2pinfer.types import Span

NUMERICS = "native-w8a8h64-1"
"""INT8 weights with a scale per row and INT8 activations with one per group of 64, both rotated within
groups of 64 before they are rounded (p2pinfer/hadamard.py). Raise the number when any bit changes."""

_UNLIMITED = (1 << 63) - 1


class TensorStore(Protocol):
    """What the engine needs of a model on disk."""

    folder: Path

    def layer_tensors(self, layer: int) -> Mapping[str, NDArray[Any]]:
        """Tensors of one layer by transformers' parameter names; see model/layer_store/store.py."""


def unavailable_reason() -> str | None:
    """Why this installation has no native engine, in one line; None if it has."""
    return library.unavailable_reason()


def available() -> bool:
    """True if the compiled library exists and loads."""
    return unavailable_reason() is None


def supports(config: Mapping[str, Any]) -> str | None:
    """Why the engine can't run a model with this config.json, in one line; None if it can."""
    try:
        read_shape(config)
    except UnsupportedModelError as error:
        return str(error)
    return None


class NativeEngine:
    """An `Engine` for the families of config.FAMILIES. Make it with `load`."""

    def __init__(
        self,
        shape: NativeShape,
        span: Span,
        *,
        threads: int | None = None,
        max_cache_tokens: int | None = None,
        isa: str | None = None,
    ) -> None:
        """Reserve memory for the span's weights. `fill_layer` brings them. Prefer `load`."""
        if span.end > len(shape.layers):
            raise ValueError(f"the model has {len(shape.layers)} layers, not {span}")
        self._library = library.library()
        self._shape, self._span = shape, span
        self._lock = threading.Lock()
        limit = _UNLIMITED if max_cache_tokens is None else max_cache_tokens * len(span)
        described = library.Shape(
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
            threads=threads or library.default_threads(),
            isa=library.isa_value(isa),
            max_cache_layer_tokens=limit,
        )
        handle = ctypes.c_void_p()
        check(self._library.p2p_model_create(ctypes.byref(described), ctypes.byref(handle)))
        self._handle = handle
        library.freed_with(self, self._library.p2p_model_free, handle)
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

        `max_cache_tokens` bounds the tokens that whole-span caches hold together; with None only memory
        bounds them. Raises UnsupportedModelError, StoreError for tensors that don't fit the config,
        UsageError if the library or the instruction set is missing, and MemoryError.
        """
        config = read_json((store.folder / "config.json").read_text("utf-8"))
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
        """The numerics class. Every machine that runs this engine gives the same bytes."""
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
        """Memory that all caches take at the moment."""
        return int(self._library.p2p_model_cache_bytes(self._handle))

    @property
    def cache_layer_tokens(self) -> int:
        """Tokens that all caches hold at the moment, each counted once per layer."""
        return int(self._library.p2p_model_cache_layer_tokens(self._handle))

    def fill_layer(self, layer: int, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Pack one layer's tensors. Raises StoreError if they don't fit the config."""
        index, read = layer - self._span.start, LayerTensors(self._shape, tensors)
        for linear in read.linears():
            check(
                self._library.p2p_model_set_linear(
                    self._handle,
                    index,
                    linear.which,
                    linear.weight.ctypes.data,
                    linear.scale.ctypes.data,
                    None if linear.bias is None else linear.bias.ctypes.data,
                )
            )
        for norm in read.norms():
            check(self._library.p2p_model_set_norm(self._handle, index, norm.which, norm.weight.ctypes.data))
        read.check_all_used(layer)

    def new_cache(self, layers: Span | None = None) -> SequenceCache:
        """An empty cache for the whole span or for some of its layers."""
        layers = layers or self._span
        if not layers.within(self._span):
            raise ValueError(f"this engine holds layers {self._span}, not {layers}")
        handle = ctypes.c_void_p()
        first = layers.start - self._span.start
        check(self._library.p2p_sequence_create(self._handle, first, len(layers), ctypes.byref(handle)))
        return NativeCache(self._library, handle, layers, owner=self, lock=self._lock)

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
        with steps_of(caches, counts):
            handles = (ctypes.c_void_p * len(caches))(*(cache.handle for cache in caches))
            tokens = (ctypes.c_int32 * len(caches))(*counts)
            check(
                self._library.p2p_model_forward(
                    self._handle, len(caches), handles, tokens, given.ctypes.data, out.ctypes.data
                )
            )
        if len(counts) == 1:
            return [out]
        ends = np.cumsum(counts)
        return [out[end - count : end] for end, count in zip(ends, counts, strict=True)]

    def _own(self, cache: SequenceCache) -> NativeCache:
        if not isinstance(cache, NativeCache) or cache.owner is not self:
            raise TypeError("a native engine needs caches that it made itself")
        return cache

    def _checked(self, hidden: Hidden) -> Hidden:
        if hidden.dtype != np.float32 or hidden.shape != (len(hidden), self._shape.hidden) or not len(hidden):
            raise ValueError(
                f"a chunk is float32 [tokens, {self._shape.hidden}], not {hidden.dtype} {hidden.shape}"
            )
        return np.ascontiguousarray(hidden)
