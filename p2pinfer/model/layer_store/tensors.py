"""Safetensors files as numpy arrays: written the same way on every machine, checked while they are read.

The format (https://huggingface.co/docs/safetensors) leaves the order of tensors and the padding open, and
the manifest hashes whole files. So this module writes the files, not a library whose next version may
order them differently.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.chunks import FileDigest, FileEntry
from p2pinfer.outside.plain_json import read_json

Tensors = dict[str, NDArray[Any]]

_TYPE_NAMES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I8": np.dtype("i1")}
_ALIGNMENT_BYTES = 64
_MAX_HEADER_BYTES = 16 << 20


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> FileEntry:
    """Write float32 and int8 arrays to `path`, and sync it to disk.

    Raises OSError, for instance if the disk is full.
    """
    digest = FileDigest()
    with path.open("wb") as file:
        for part in _parts(tensors):
            digest.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return digest.entry()


def tensors_entry(tensors: Mapping[str, NDArray[Any]]) -> FileEntry:
    """What `write_tensors` would return. Nothing is written."""
    digest = FileDigest()
    for part in _parts(tensors):
        digest.update(part)
    return digest.entry()


def read_tensors(path: Path, entry: FileEntry) -> Tensors:
    """Map the arrays of `path`: views of the file, whose pages are read on first use.

    Raises StoreError if the file is missing or differs from `entry`.
    """
    data = read_verified(path, entry)
    try:
        return _parse(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is no layer-store file: {error}; convert again") from error


def read_verified(path: Path, entry: FileEntry) -> NDArray[np.uint8]:
    """The bytes of `path`. Raises StoreError if the file is missing or differs from `entry`.

    The bytes stay in the file: an embedding takes memory only for the rows that are used, and processes on
    one machine share it. Writing to the array changes a private copy.
    """
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            raise StoreError(f"{path} has {size} bytes, the manifest says {entry.bytes}: convert again")
        if size == 0:
            raise StoreError(f"{path} is empty: convert again")
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise StoreError(f"{path} can't be read ({error.strerror}): convert again") from error
    if hashlib.sha256(mapped).hexdigest() != entry.sha256:
        raise StoreError(f"{path} was altered: its SHA-256 is not the manifest's; convert again")
    data = np.frombuffer(mapped, dtype=np.uint8)
    let_pages_go(data)  # hashing has read all of them
    return data


def let_pages_go(array: NDArray[Any]) -> None:
    """Give back the memory of a mapped file's pages until their next use. Other arrays are left alone."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _parts(tensors: Mapping[str, NDArray[Any]]) -> Iterator[bytes | memoryview]:
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    yield _header_bytes(names, tensors)
    yield from (_raw(tensors[name]) for name in names)


def _header_bytes(names: list[str], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    header, offset = {}, 0
    for name in names:
        array = tensors[name]
        end = offset + array.nbytes
        header[name] = {"dtype": _type_name(array), "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT_BYTES)
    return len(text).to_bytes(8, "little") + text


def _type_name(array: NDArray[Any]) -> str:
    for name, dtype in _TYPE_NAMES.items():
        if array.dtype == dtype:
            return name
    raise ValueError(f"a layer store holds float32 and int8, not {array.dtype}")


def _raw(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _parse(data: NDArray[np.uint8]) -> Tensors:
    header_bytes = int.from_bytes(data[:8].tobytes(), "little")
    if len(data) < 8 or header_bytes > min(len(data) - 8, _MAX_HEADER_BYTES):
        raise ValueError("the header is longer than the file")
    header = read_json(data[8 : 8 + header_bytes].tobytes())
    body = data[8 + header_bytes :]
    tensors: Tensors = {}
    for name, described in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = _TYPE_NAMES[described["dtype"]], tuple(described["shape"])
        start, end = described["data_offsets"]
        if not 0 <= start <= end <= len(body) or end - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name} lies outside the file")
        tensors[name] = body[start:end].view(dtype).reshape(shape)
    return tensors
