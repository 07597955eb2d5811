"""The identity of a model in the swarm: the SHA-256 of every file of its layer store, and one hash over all.

Peers whose manifests differ never share a route. The hash covers everything that decides the numbers
(config, ends, every layer) and how text becomes tokens. It doesn't cover the folder, the name that people
see, or the sampling defaults, which are the client's choice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2pinfer.errors import StoreError

FORMAT = "p2pinfer-int8-3"
"""Change this whenever the same source would give other bytes."""

CONFIG_FILE = "config.json"
ENDS_FILE = "ends.safetensors"
GENERATION_CONFIG_FILE = "generation_config.json"
MANIFEST_FILE = "manifest.json"

_NOT_HASHED = frozenset({GENERATION_CONFIG_FILE})
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_LAYERS = 10_000


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a store."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A model as a layer store. `hash` identifies it; `name` is only for people."""

    hash: str
    name: str
    model_type: str
    num_layers: int
    hidden_size: int
    vocab_size: int
    max_positions: int
    files: Mapping[str, FileEntry]

    def to_json(self) -> str:
        """The text of manifest.json."""
        fields = {name: getattr(self, name) for name in (*_TEXT_FIELDS, *_COUNT_FIELDS)}
        files = {
            name: {"sha256": entry.sha256, "bytes": entry.bytes} for name, entry in sorted(self.files.items())
        }
        return json.dumps({"format": FORMAT, **fields, "files": files}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read manifest.json. Raises StoreError saying which part is wrong."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{MANIFEST_FILE} is not JSON: {error}") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise StoreError(
                f"{MANIFEST_FILE} has format {found!r}, and this version reads {FORMAT!r}: convert again"
            )
        fields: dict[str, Any] = {}
        for name in _TEXT_FIELDS:
            fields[name] = _checked(data, name, str)
        for name in _COUNT_FIELDS:
            fields[name] = _checked(data, name, int)
            if fields[name] <= 0:
                raise StoreError(f"{MANIFEST_FILE}: {name} must be positive, not {fields[name]}")
        files = _read_files(_checked(data, "files", dict))
        if fields["num_layers"] > _MAX_LAYERS:
            raise StoreError(f"{MANIFEST_FILE} claims {fields['num_layers']} layers")
        for name in (CONFIG_FILE, ENDS_FILE, *map(layer_file, range(fields["num_layers"]))):
            if name not in files:
                raise StoreError(f"{MANIFEST_FILE} does not list {name}: convert again")
        if fields["hash"] != hash_of(files):
            raise StoreError(f"{MANIFEST_FILE}: the hash does not fit the files it lists: convert again")
        return cls(**fields, files=files)


_TEXT_FIELDS = ("hash", "name", "model_type")
_COUNT_FIELDS = ("num_layers", "hidden_size", "vocab_size", "max_positions")


def layer_file(layer: int) -> str:
    """The name of one decoder layer's file."""
    return f"layers/{layer:05d}.safetensors"


def hash_of(files: Mapping[str, FileEntry]) -> str:
    """SHA-256 over the canonical JSON of the format and of every file that counts."""
    counted = {name: [entry.sha256, entry.bytes] for name, entry in files.items() if name not in _NOT_HASHED}
    canonical = json.dumps([FORMAT, counted], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _checked(data: Mapping[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise StoreError(f"{MANIFEST_FILE}: {name} is missing or no {kind.__name__}")
    return value


def _read_files(listed: Mapping[str, Any]) -> dict[str, FileEntry]:
    files = {}
    for name, entry in listed.items():
        if not _SAFE_NAME.fullmatch(name):
            raise StoreError(f"{MANIFEST_FILE} names a file outside its folder: {name!r}")
        if not isinstance(entry, dict):
            raise StoreError(f"{MANIFEST_FILE}: the entry of {name} is no object")
        sha256, size = _checked(entry, "sha256", str), _checked(entry, "bytes", int)
        if not _HEX_SHA256.fullmatch(sha256) or size < 0:
            raise StoreError(f"{MANIFEST_FILE}: the entry of {name} is malformed")
        files[name] = FileEntry(sha256=sha256, bytes=size)
    return files
