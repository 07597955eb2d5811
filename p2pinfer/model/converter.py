"""Computes the tensors of a layer store's files from a source of weights, one file at a time.

Memory holds at most one layer, or the INT8 embeddings. Tensors are read and quantized in blocks of rows,
so the whole model is never in memory. What becomes of the files is for conversion.py and verification.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from p2pinfer.errors import ModelError, StoreError
from p2pinfer.model.blueprint import Blueprint, Shape, blueprint
from p2pinfer.model.families import family_of, normalised_config, transformers_config
from p2pinfer.model.formats.weights import WeightSource
from p2pinfer.model.head import EMBEDDINGS, HEAD, Head, find_head
from p2pinfer.model.layer_store.names import ENDS_FILE, MAX_LAYERS, layer_file, layer_of
from p2pinfer.model.layer_store.tensors import Tensors
from p2pinfer.model.quantization import quantize_rows

_BLOCK_ELEMENTS = 1 << 22
"""Weights in one block of rows: 16 MB of float32."""


class Converter:
    """The files of one model's store, computed when they are asked for."""

    def __init__(self, source: WeightSource, layout: Mapping[str, Any] | None = None) -> None:
        """`layout` is the normalised config of a store that exists already; None: the source's own.

        Raises ModelError, and UnsupportedModelError.
        """
        self._source = source
        self._is_known = layout is not None
        self._layout = dict(normalised_config(source.config) if layout is None else layout)
        self._made = transformers_config(self._layout)
        self._layers: dict[int, Blueprint] = {}
        if not 0 < self.num_layers <= MAX_LAYERS:
            raise ModelError(f"{source.name} claims {self.num_layers} layers")

    @property
    def num_layers(self) -> int:
        """Decoder layers of the model."""
        return int(self._layout["num_hidden_layers"])

    @property
    def tensor_files(self) -> list[str]:
        """The names of all files with tensors: the ends, and every layer."""
        return [ENDS_FILE, *map(layer_file, range(self.num_layers))]

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json of the store: which tensor is the head is decided by the files."""
        return {**self._layout, "tie_word_embeddings": self.head.tied}

    @cached_property
    def head(self) -> Head:
        """Where the head comes from. Reads embeddings and head if they should be one tensor.

        A store's own config knows: its ends are compared with its manifest anyway.
        """
        if self._is_known:
            has_embeddings = EMBEDDINGS in self._source.shapes
            tied = bool(self._layout["tie_word_embeddings"])
            return Head(tied=tied, embeddings=EMBEDDINGS if has_embeddings or not tied else HEAD)
        return find_head(self._layout, self._source)

    def stored_bytes(self, name: str) -> int:
        """Bytes of a file with tensors, without its header."""
        return self._blueprint(name).stored_bytes

    def check(self, name: str) -> None:
        """Raise ModelError if the source lacks a tensor of a file, or has it in another shape."""
        prefix, stored_as, found = self._prefix(name), self._stored_as(name), self._source.shapes
        for inner, shape in self._blueprint(name).shapes.items():
            stored = prefix + stored_as.get(inner, inner)
            if stored not in found:
                raise ModelError(f"the model lacks {stored}: its files don't fit its config")
            if found[stored] != shape:
                raise ModelError(f"{stored} has the shape {found[stored]}, the config says {shape}")

    def tensors(self, name: str) -> Tensors:
        """What a file holds: a layer's, or that of the ends. Raises ModelError."""
        self.check(name)
        described = self._blueprint(name)
        return _quantized(
            self._source,
            self._prefix(name),
            described.shapes,
            described.linear_weights,
            self._stored_as(name),
        )

    def _blueprint(self, name: str) -> Blueprint:
        if name == ENDS_FILE:
            shapes = _ends_shapes(self.config)
            return Blueprint(shapes, frozenset(inner for inner, shape in shapes.items() if len(shape) == 2))
        layer = layer_of(name)
        if layer is None or layer >= self.num_layers:
            raise StoreError(f"{name} is no file with tensors of this model")
        if layer not in self._layers:
            self._layers[layer] = blueprint(self._made, layer)
        return self._layers[layer]

    def _prefix(self, name: str) -> str:
        return "" if name == ENDS_FILE else f"layers.{layer_of(name)}."

    def _stored_as(self, name: str) -> Mapping[str, str]:
        return {EMBEDDINGS: self.head.embeddings} if name == ENDS_FILE else MappingProxyType({})


def _ends_shapes(config: Mapping[str, Any]) -> dict[str, Shape]:
    vocab_size, hidden_size = config["vocab_size"], config["hidden_size"]
    shapes: dict[str, Shape] = {
        EMBEDDINGS: (vocab_size, hidden_size),
        "norm.weight": (hidden_size,),
    }
    if family_of(config).norm == "layer":
        shapes["norm.bias"] = (hidden_size,)
    if not config["tie_word_embeddings"]:
        shapes[HEAD] = (vocab_size, hidden_size)
    return shapes


def _quantized(
    source: WeightSource,
    prefix: str,
    shapes: Mapping[str, Shape],
    linear: frozenset[str],
    stored_as: Mapping[str, str],
) -> Tensors:
    """The tensors of one file. `stored_as` says which of them the source calls by another name."""
    tensors: Tensors = {}
    for name, shape in shapes.items():
        stored = prefix + stored_as.get(name, name)
        if name not in linear:
            tensors[name] = source.rows(stored, 0, shape[0])
            if not np.isfinite(tensors[name]).all():
                raise ModelError(f"{stored} holds a value that is not a finite number: the file is damaged")
            continue
        quantized, scales = np.empty(shape, np.int8), np.empty(shape[0], np.float32)
        block_rows = max(1, _BLOCK_ELEMENTS // shape[1])
        for start in range(0, shape[0], block_rows):
            stop = min(start + block_rows, shape[0])
            try:
                quantized[start:stop], scales[start:stop] = quantize_rows(source.rows(stored, start, stop))
            except ModelError as error:
                if type(error) is not ModelError:  # the source's own, such as a hub that is away
                    raise
                raise ModelError(f"{stored}: {error}") from error
        tensors[name], tensors[f"{name}_scale"] = quantized, scales
    return tensors
