"""Looks at a stranger's text before it is parsed: has it the outline of a manifest?

A parser makes an object of every few bytes, in one go, in which no other thread runs: 64 MiB of tiny objects
took 2 GB of memory and half a minute. A manifest is mostly hashes: it has few objects for its size.
"""

from __future__ import annotations

import numpy as np

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.names import MANIFEST_FILE, MAX_LAYERS
from p2pinfer.model.layer_store.origin import MOST_TENSORS

_MOST_FILES = MAX_LAYERS + 32
_SPARE = 4096  # for the fields of the whole, and for what people call a model
_MOST_MARKS = 8 * _MOST_FILES + 5 * MOST_TENSORS + _SPARE
"""Of `{`, `[`, `,` and `:`. A file's entry has 8 of them, and a tensor's place 5."""
_MOST_DEPTH = 5
_MARKS = (b"{", b"[", b",", b":")
_SLICE_BYTES = 1 << 20  # looked at in one go: other threads have their turn between two of them


class Outline:
    """Counts what a text that comes in parts consists of."""

    def __init__(self) -> None:
        self._marks = 0
        self._escapes = 0

    def add(self, part: bytes | bytearray) -> None:
        """The next part, in order. Raises StoreError as soon as it can't be a manifest any more."""
        self._marks += sum(map(part.count, _MARKS))
        self._escapes += part.count(b"\\")
        if self._marks > _MOST_MARKS or self._escapes > _SPARE:
            raise StoreError(f"{MANIFEST_FILE} has more entries than a model can have")


def check_outline(text: bytes | bytearray) -> None:
    """Blocking. Raises StoreError if a manifest can't have so many entries, or so many in each other."""
    outline = Outline()
    for start in range(0, len(text), _SLICE_BYTES):
        outline.add(text[start : start + _SLICE_BYTES])
    if _depth(bytes(text)) > _MOST_DEPTH:
        raise StoreError(f"{MANIFEST_FILE} has entries within entries, more than a manifest has")


def _depth(text: bytes) -> int:
    """How many objects and lists are open at once, at most; what is in quotes doesn't count."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    data = np.frombuffer(text, dtype=np.uint8)
    kinds = np.zeros(256, dtype=np.int8)
    kinds[list(b"{[")], kinds[list(b"}]")], kinds[ord('"')] = 1, -1, 2
    found = [kinds[data[at : at + _SLICE_BYTES]] for at in range(0, len(data), _SLICE_BYTES)]
    steps = np.concatenate([part[part != 0] for part in found]) if found else np.zeros(0, dtype=np.int8)
    is_quote = steps == 2
    is_outside = np.cumsum(is_quote) % 2 == 0
    levels = np.cumsum(np.where(is_quote | ~is_outside, 0, steps).astype(np.int64))
    return int(levels.max(initial=0))
