"""The identity of a model in the swarm: the hashes of every file of its layer store, and one hash over all.

Peers whose manifests differ never share a route. The hash covers everything that comes from strangers as a
file: config, ends, tokenizer, every layer, and the defaults of `generate`, which say where an answer ends. It
doesn't cover the folder, the name that people see, or where the model came from. An owner may edit
generation_config.json in a store: clients read it as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.chunks import ChunkMap, FileEntry, number_of_chunks
from p2pinfer.model.layer_store.names import (
    CONFIG_FILE,
    ENDS_FILE,
    MANIFEST_FILE,
    MAX_LAYERS,
    is_known,
    is_small,
    layer_file,
)
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.outside.plain_json import read_json

FORMAT = "p2pinfer-int8-3"
"""Change this whenever the same source would give other bytes."""

MANIFEST_FORMAT = 3
"""Change this whenever the hash covers something else, or manifest.json is read otherwise."""

MAX_MANIFEST_BYTES = 64 << 20
"""A model of 400 GB in INT8 has a manifest of 27 MB."""

_MOST_FILE_BYTES = 1 << 40
_MOST_SMALL_FILE_BYTES = 256 << 20
_MOST_NAME_CHARACTERS = 128
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A model as a layer store. `hash` identifies it; `name` and `origin` are only for people."""

    hash: str
    name: str
    model_type: str
    num_layers: int
    hidden_size: int
    vocab_size: int
    max_positions: int
    files: Mapping[str, FileEntry]
    origin: Origin = field(default_factory=Origin)

    @cached_property
    def chunks(self) -> ChunkMap:
        """The numbers of the files' chunks."""
        return ChunkMap(self.files)

    @property
    def end_files(self) -> tuple[str, ...]:
        """The files that a client needs: configs, tokenizer and ends."""
        return tuple(name for name in sorted(self.files) if name == ENDS_FILE or is_small(name))

    def bytes_of(self, names: tuple[str, ...]) -> int:
        """How many bytes these files have together."""
        return sum(self.files[name].bytes for name in names)

    def to_json(self) -> str:
        """The text of manifest.json. The hashes of a file's chunks follow each other in one text."""
        fields = {name: getattr(self, name) for name in (*_TEXT_FIELDS, *_COUNT_FIELDS)}
        files = {
            name: {"sha256": entry.sha256, "bytes": entry.bytes, "chunks": "".join(entry.chunks)}
            for name, entry in sorted(self.files.items())
        }
        data = {"manifest": MANIFEST_FORMAT, "format": FORMAT, **fields}
        return json.dumps(data | {"files": files, "origin": self.origin.to_json()}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read manifest.json, which may come from a stranger. Raises StoreError: which part is wrong."""
        try:
            data = read_json(text)
        except ValueError as error:
            raise StoreError(f"{MANIFEST_FILE} is not JSON: {error}") from error
        _check_format(data)
        fields: dict[str, Any] = {}
        for name in _TEXT_FIELDS:
            fields[name] = _checked(data, name, str)
            if len(fields[name]) > _MOST_NAME_CHARACTERS or not fields[name].isprintable():
                raise StoreError(f"{MANIFEST_FILE}: {name} is too long, or not printable")
        for name in _COUNT_FIELDS:
            fields[name] = _checked(data, name, int)
            if fields[name] <= 0:
                raise StoreError(f"{MANIFEST_FILE}: {name} must be positive, not {fields[name]}")
        if fields["num_layers"] > MAX_LAYERS:
            raise StoreError(f"{MANIFEST_FILE} claims {fields['num_layers']} layers")
        files = _read_files(_checked(data, "files", dict), fields["num_layers"])
        for name in (CONFIG_FILE, ENDS_FILE, *map(layer_file, range(fields["num_layers"]))):
            if name not in files:
                raise StoreError(f"{MANIFEST_FILE} does not list {name}: convert again")
        if fields["hash"] != hash_of(files):
            raise StoreError(f"{MANIFEST_FILE}: the hash does not fit the files it lists: convert again")
        return cls(**fields, files=files, origin=Origin.from_json(data.get("origin", {})))


_TEXT_FIELDS = ("hash", "name", "model_type")
_COUNT_FIELDS = ("num_layers", "hidden_size", "vocab_size", "max_positions")


def hash_of(files: Mapping[str, FileEntry]) -> str:
    """SHA-256 over the canonical JSON of both formats and of every file with its chunks."""
    listed = {name: [entry.sha256, entry.bytes, *entry.chunks] for name, entry in files.items()}
    canonical = json.dumps([MANIFEST_FORMAT, FORMAT, listed], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _check_format(data: Any) -> None:
    found = (data.get("manifest"), data.get("format")) if isinstance(data, dict) else (None, None)
    if found != (MANIFEST_FORMAT, FORMAT):
        raise StoreError(
            f"{MANIFEST_FILE} has format {found[1]!r} and version {found[0]!r}, and this p2pinfer reads "
            f"{FORMAT!r} and version {MANIFEST_FORMAT}: convert again"
        )


def _checked(data: Mapping[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise StoreError(f"{MANIFEST_FILE}: {name} is missing or no {kind.__name__}")
    return value


def _read_files(listed: Mapping[str, Any], num_layers: int) -> dict[str, FileEntry]:
    if len(listed) > num_layers + 32:
        raise StoreError(f"{MANIFEST_FILE} lists {len(listed)} files for {num_layers} layers")
    return {name: _read_entry(name, entry, num_layers) for name, entry in listed.items()}


def _read_entry(name: str, entry: Any, num_layers: int) -> FileEntry:
    if not is_known(name, num_layers):
        raise StoreError(f"{MANIFEST_FILE} names a file that a store doesn't have: {name[:80]!r}")
    if not isinstance(entry, dict):
        raise StoreError(f"{MANIFEST_FILE}: the entry of {name} is no object")
    sha256, size, chunks = (
        _checked(entry, "sha256", str),
        _checked(entry, "bytes", int),
        _checked(entry, "chunks", str),
    )
    if not 0 <= size <= (_MOST_SMALL_FILE_BYTES if is_small(name) else _MOST_FILE_BYTES):
        raise StoreError(f"{MANIFEST_FILE}: {name} can't have {size} bytes")
    if len(chunks) != 64 * number_of_chunks(size):
        raise StoreError(f"{MANIFEST_FILE}: {name} has {size} bytes, and another number of chunks")
    hashes = tuple(chunks[start : start + 64] for start in range(0, len(chunks), 64))
    if not all(map(_HEX_SHA256.fullmatch, (sha256, *hashes))):
        raise StoreError(f"{MANIFEST_FILE}: the entry of {name} is malformed")
    return FileEntry(sha256, size, hashes)
