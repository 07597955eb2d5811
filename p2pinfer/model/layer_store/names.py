"""The files that a store may have. No other name is read, written or sent."""

from __future__ import annotations

import re
from collections.abc import Collection

from p2pinfer.plain_text import several
from p2pinfer.types import Span

CONFIG_FILE = "config.json"
ENDS_FILE = "ends.safetensors"
GENERATION_CONFIG_FILE = "generation_config.json"
MANIFEST_FILE = "manifest.json"
POOLING_FILE = "pooling.json"
"""Only stores of embedding models have it."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
MAX_LAYERS = 4096  # as the records of servers

_SMALL_FILES = frozenset({CONFIG_FILE, GENERATION_CONFIG_FILE, POOLING_FILE, *TOKENIZER_FILES})
_LAYER_FILE = re.compile(r"layers/([0-9]{5})\.safetensors")


def layer_file(layer: int) -> str:
    """The name of one decoder layer's file."""
    return f"layers/{layer:05d}.safetensors"


def layer_files(layers: Span) -> tuple[str, ...]:
    """The names of the files of a span's layers."""
    return tuple(map(layer_file, range(layers.start, layers.end)))


def layer_of(name: str) -> int | None:
    """The layer that a file holds; None if it is no layer's file."""
    found = _LAYER_FILE.fullmatch(name)
    return int(found[1]) if found else None


def in_words(names: Collection[str]) -> str:
    """Some files of a store, for people: `layers 3:6`, `the ends`, or how many files."""
    if set(names) == {ENDS_FILE}:
        return "the ends"
    layers = {layer for name in names if (layer := layer_of(name)) is not None}
    if layers and len(layers) == len(names) == max(layers) - min(layers) + 1:
        return f"layers {Span(min(layers), max(layers) + 1)}"
    return several(len(names), "layer" if len(layers) == len(names) else "file")


def is_small(name: str) -> bool:
    """True for the files that describe the model: configs, tokenizer and pooling."""
    return name in _SMALL_FILES


def is_known(name: str, num_layers: int) -> bool:
    """True if a store of a model with this many layers may have a file of this name."""
    layer = layer_of(name)
    return name == ENDS_FILE or is_small(name) or (layer is not None and layer < num_layers)
