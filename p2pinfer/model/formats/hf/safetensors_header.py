"""The header of a safetensors file: which tensors it holds, and where. Pure.

Format: https://huggingface.co/docs/safetensors, eight bytes with the length of a JSON text, the text, then
the tensors' bytes. A header may come from a stranger: lengths and places are checked before they are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pinfer.errors import ModelError
from p2pinfer.outside.plain_json import read_json

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 64 << 20
_MOST_DIMENSIONS = 8
FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""The types that a conversion reads, with the bytes of one number."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a file."""

    kind: str  # such as `BF16`
    shape: tuple[int, ...]
    start: int  # from the start of the file
    end: int


def header_bytes(first: bytes, file_bytes: int, where: str) -> int:
    """How long the header is, with its length in front, by the first eight bytes of a file.

    Raises ModelError if the file can't have such a header.
    """
    length = LENGTH_BYTES + int.from_bytes(first[:LENGTH_BYTES], "little")
    if len(first) < LENGTH_BYTES or not LENGTH_BYTES + 2 <= length <= min(file_bytes, MOST_HEADER_BYTES):
        raise ModelError(f"{where} is no complete safetensors file: its header can't have {length:,} bytes")
    return length


def parse_header(header: bytes, file_bytes: int, where: str) -> dict[str, StoredTensor]:
    """The tensors by their stored names. `header` has the length in front. Raises ModelError."""
    try:
        listed = read_json(header[LENGTH_BYTES:])
        if not isinstance(listed, dict):
            raise ValueError("the header is no object")
        body_bytes = file_bytes - len(header)
        return {
            name: _tensor(name, entry, len(header), body_bytes)
            for name, entry in listed.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{where} is no complete safetensors file: {error}") from error


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file on disk. Raises ModelError."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            first = file.read(LENGTH_BYTES)
            return parse_header(
                first + file.read(header_bytes(first, size, str(path)) - LENGTH_BYTES), size, str(path)
            )
    except OSError as error:
        raise ModelError(f"{path} can't be read ({error.strerror})") from error


def _tensor(name: str, entry: Any, header_bytes: int, body_bytes: int) -> StoredTensor:
    kind, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"{name[:80]} has no type or no shape")
    if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
        raise ValueError(f"{name[:80]} has a shape or a place that is no whole number")
    if not start <= end <= body_bytes:
        raise ValueError(f"{name[:80]} lies outside the file")
    if kind in FLOAT_BYTES and end - start != math.prod(shape) * FLOAT_BYTES[kind]:
        raise ValueError(f"{name[:80]} has {end - start} bytes, which don't fit its shape {shape}")
    return StoredTensor(kind, tuple(shape), header_bytes + start, header_bytes + end)
