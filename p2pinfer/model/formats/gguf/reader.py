"""The header of a GGUF file: metadata and the position of every tensor.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian. The
`gguf` package reads a vocabulary of 49,152 words in three seconds, because each of its slices makes a
memory-mapped array object. This takes 0.1 s.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pinfer.errors import ModelError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4

_MOST_ENTRIES = 1 << 22
"""Of an array, of the metadata, of the tensor table: vocabularies have a quarter of a million."""

_MOST_STRING_BYTES = 1 << 24
_MOST_ALIGNMENT = 1 << 16


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """The position of a tensor. `shape` has the slowest dimension first."""

    shape: tuple[int, ...]
    kind: int  # a ggml type id
    offset: int  # from the start of the file


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Metadata and tensor table of a GGUF file."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_header(path: Path) -> GgufHeader:
    """Read metadata and tensor table. Raises ModelError unless it is a complete GGUF file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Cursor(data).header()
    except (OSError, ValueError, struct.error, UnicodeDecodeError, IndexError, OverflowError) as error:
        raise ModelError(f"{path} is no complete GGUF file: {error}") from error


class _Cursor:
    """A reading position in the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def header(self) -> GgufHeader:
        if self._take(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = self._scalar("I")
        if version not in (2, 3):
            raise ValueError(f"version {version} is unknown, 2 and 3 are read")
        tensor_count, pair_count = self._scalar("Q"), self._scalar("Q")
        metadata = {}
        for _ in range(self._plausible(pair_count)):
            key = self._string()
            metadata[key] = self._value(self._scalar("I"))
        table = [self._tensor() for _ in range(self._plausible(tensor_count))]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= _MOST_ALIGNMENT:
            raise ValueError(f"its alignment is {str(alignment)[:40]}")
        start = -(-self._at // alignment) * alignment
        return GgufHeader(
            metadata,
            {name: GgufTensor(shape, kind, start + offset) for name, shape, kind, offset in table},
        )

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        dimensions = self._scalar("I")
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"{name[:80]} has {dimensions} dimensions")
        shape = tuple(self._scalar("Q") for _ in range(dimensions))
        if 0 in shape:
            raise ValueError(f"{name[:80]} has no numbers")
        return name, shape[::-1], self._scalar("I"), self._scalar("Q")

    def _value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            raise ValueError(f"a value has the unknown type {kind}")
        element, count = self._scalar("I"), self._scalar("Q")
        if element in _SCALARS:
            form = struct.Struct(f"<{self._plausible(count)}{_SCALARS[element]}")
            return list(form.unpack(self._take(form.size)))
        if element == _STRING:
            return [self._string() for _ in range(self._plausible(count))]
        raise ValueError(f"an array has elements of the type {element}")

    def _scalar(self, code: str) -> Any:
        form = struct.Struct("<" + code)
        return form.unpack(self._take(form.size))[0]

    def _string(self) -> str:
        count = self._scalar("Q")
        if count > _MOST_STRING_BYTES:
            raise ValueError(f"it claims a text of {count} bytes")
        return self._take(count).decode("utf-8")

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise ValueError("it ends too early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _plausible(self, count: int) -> int:
        """A count of entries that the rest of the file can hold: nothing is made for others."""
        if count > min(len(self._data) - self._at, _MOST_ENTRIES):
            raise ValueError(f"it claims {count} entries")
        return count
