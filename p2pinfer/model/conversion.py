"""Turns a source of weights into a layer store, one layer at a time.

Memory holds at most one layer, or the INT8 embeddings. Tensors are read and quantized in blocks of rows,
so the whole model is never in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from p2pinfer.errors import ModelError
from p2pinfer.model.blueprint import Blueprint, Shape, blueprint
from p2pinfer.model.families import family_of, normalised_config, transformers_config
from p2pinfer.model.formats.weights import WeightSource
from p2pinfer.model.head import EMBEDDINGS, HEAD, find_head
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import ENDS_FILE, layer_file
from p2pinfer.model.layer_store.tensors import Tensors
from p2pinfer.model.layer_store.writer import StoreWriter
from p2pinfer.model.quantization import quantize_rows

Progress = Callable[[str], None]

_BLOCK_ELEMENTS = 1 << 22
"""Weights in one block of rows: 16 MB of float32."""

_OVERHEAD_BYTES = 1 << 20
"""A generous allowance for headers, manifest and configs. The tokenizer is counted once it is written."""

_PROGRESS_LAYERS = 10


def convert(source: WeightSource, folder: Path, progress: Progress) -> Manifest:
    """Write `source` as a layer store into `folder`, which must be empty or absent.

    Raises UnsupportedModelError, ModelError if tensors are missing or of a wrong shape, and
    StoreError if the disk is full. After an error the folder is no store.
    """
    progress(f"reading {source.name}")  # and importing transformers, which takes some seconds
    config = normalised_config(source.config)
    head = find_head(config, source)
    config["tie_word_embeddings"] = head.tied
    for remark in (*source.remarks, *([head.remark] if head.remark else ())):
        progress(remark)
    layers = _blueprints(config)
    ends = _ends_shapes(config)
    _check_shapes(source.shapes, layers, ends, {EMBEDDINGS: head.embeddings})
    needed_bytes = _stored_bytes(layers, ends)
    progress(
        f"converting {source.name}: {config['model_type']}, {len(layers)} layers, "
        f"{needed_bytes / 1e6:.0f} MB in INT8"
    )
    writer = StoreWriter(folder, needed_bytes)
    with writer.writing():
        for name in source.write_tokenizer(folder):
            writer.add_written(name)
    ends_tensors = _quantized(source, "", ends, _ends_linear(ends), {EMBEDDINGS: head.embeddings})
    writer.add_tensors(ENDS_FILE, ends_tensors)
    for layer, described in enumerate(layers):
        if layer % _PROGRESS_LAYERS == 0:
            progress(f"converting layers {layer} to {min(layer + _PROGRESS_LAYERS, len(layers)) - 1}")
        tensors = _quantized(source, f"layers.{layer}.", described.shapes, described.linear_weights)
        writer.add_tensors(layer_file(layer), tensors)
    return writer.finish(source.name, config, source.generation_config, source.origin)


def _blueprints(config: Mapping[str, Any]) -> list[Blueprint]:
    made = transformers_config(config)
    return [blueprint(made, layer) for layer in range(config["num_hidden_layers"])]


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


def _ends_linear(ends: Mapping[str, Shape]) -> frozenset[str]:
    return frozenset(name for name, shape in ends.items() if len(shape) == 2)


def _check_shapes(
    found: Mapping[str, Shape],
    layers: list[Blueprint],
    ends: Mapping[str, Shape],
    stored_as: Mapping[str, str],
) -> None:
    wanted = {stored_as.get(name, name): shape for name, shape in ends.items()}
    for layer, described in enumerate(layers):
        wanted |= {f"layers.{layer}.{name}": shape for name, shape in described.shapes.items()}
    for name, shape in wanted.items():
        if name not in found:
            raise ModelError(f"the model lacks {name}: its files don't fit its config")
        if found[name] != shape:
            raise ModelError(f"{name} has the shape {found[name]}, the config says {shape}")


def _stored_bytes(layers: list[Blueprint], ends: Mapping[str, Shape]) -> int:
    parts = [Blueprint(ends, _ends_linear(ends)), *layers]
    return sum(part.stored_bytes for part in parts) + _OVERHEAD_BYTES


def _quantized(
    source: WeightSource,
    prefix: str,
    shapes: Mapping[str, Shape],
    linear: frozenset[str],
    stored_as: Mapping[str, str] = MappingProxyType({}),
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
                raise ModelError(f"{stored}: {error}") from error
        tensors[name], tensors[f"{name}_scale"] = quantized, scales
    return tensors
