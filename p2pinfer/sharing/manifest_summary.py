"""What people want to know of a model, in a few hundred bytes: a manifest without files and tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import MAX_LAYERS
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.outside.plain_json import read_json
from p2pinfer.plain_text import printable

MAX_SUMMARY_BYTES = 16 << 10

_MOST_BYTES = 1 << 50
_MOST_NAME_CHARACTERS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSummary:
    """A model in words. From a stranger, and unverified: only the whole manifest proves its hash."""

    hash: str
    name: str
    model_type: str
    num_layers: int
    size_bytes: int  # of all files
    origin: Origin = field(default_factory=Origin)  # without tensors

    @classmethod
    def of(cls, manifest: Manifest) -> ManifestSummary:
        """The summary of a manifest."""
        origin = manifest.origin
        return cls(
            hash=manifest.hash,
            name=manifest.name,
            model_type=manifest.model_type,
            num_layers=manifest.num_layers,
            size_bytes=manifest.bytes_of(tuple(manifest.files)),
            origin=Origin(
                format=origin.format, hub_id=origin.hub_id, revision=origin.revision, licence=origin.licence
            ),
        )

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        fields = {name: getattr(self, name) for name in ("hash", *_WORDS, *_COUNTS)}
        return json.dumps(fields | {"origin": self.origin.to_json()})

    @classmethod
    def from_json(cls, text: str) -> ManifestSummary:
        """Read a stranger's summary. Texts are made printable. Raises StoreError."""
        try:
            data: Any = read_json(text)
        except ValueError as error:
            raise StoreError(f"the summary of a manifest is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise StoreError("the summary of a manifest is no object")
        fields: dict[str, Any] = {}
        for name in ("hash", *_WORDS):
            if not isinstance(data.get(name), str):
                raise StoreError(f"the summary of a manifest has no {name}")
            fields[name] = printable(data[name], _MOST_NAME_CHARACTERS)
        for name, most in _COUNTS.items():
            value = data.get(name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
                raise StoreError(f"the summary of a manifest has an impossible {name}")
            fields[name] = value
        return cls(**fields, origin=Origin.from_json(data.get("origin", {})))


_WORDS = ("name", "model_type")
_COUNTS = {"num_layers": MAX_LAYERS, "size_bytes": _MOST_BYTES}
