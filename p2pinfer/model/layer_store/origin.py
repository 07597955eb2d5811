"""Where a model came from, as its manifest says: hub, revision, licence, and the place of every tensor.

None of it is part of the model's identity, and a manifest may come from a stranger: it tells where to look.
What is found there counts only if it converts to the bytes in the manifest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pinfer.errors import StoreError

MOST_TENSORS = 200_000
_MOST_CHARACTERS = 128
_HUB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95})?")
_REVISION = re.compile(r"[0-9a-f]{40}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}){0,3}")
_TENSOR = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_MOST_BYTES = 1 << 50


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """The bytes [start, end) of a file, which hold one tensor."""

    file: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a conversion read."""

    format: str = ""  # for people, such as `safetensors BF16` or `GGUF Q4_1`; empty: unknown
    hub_id: str | None = None  # None: the files were local, and nobody else may have them
    revision: str | None = None  # the commit on the hub, 40 hex digits
    licence: str | None = None  # its name as the model's card says it, such as `apache-2.0`
    tensors: Mapping[str, TensorPlace] = field(default_factory=dict)  # by the names of a WeightSource

    @classmethod
    def proper(
        cls,
        *,
        words: str,
        hub_id: str | None,
        revision: str | None,
        licence: str | None,
        tensors: Mapping[str, TensorPlace],
    ) -> Origin:
        """What a source says of itself, without the parts that `from_json` would refuse.

        `words` are the format.
        """
        fits = len(tensors) <= MOST_TENSORS
        hub_id = hub_id if hub_id is not None and _is_hub_id(hub_id) else None
        return cls(
            format=words if _is_short_text(words) else "",
            hub_id=hub_id,
            revision=revision if hub_id and revision and _REVISION.fullmatch(revision) else None,
            licence=licence if licence and _is_short_text(licence) else None,
            tensors={
                name: at
                for name, at in tensors.items()
                if fits and _TENSOR.fullmatch(name) and _is_place([at.file, at.start, at.end])
            },
        )

    @property
    def words(self) -> str:
        """In one line, for people."""
        where = self.hub_id or "local files"
        commit = f" at {self.revision[:12]}" if self.revision else ""
        return f"{where}{commit}{f', {self.format}' if self.format else ''}"

    def to_json(self) -> dict[str, Any]:
        """The `origin` of manifest.json. Tensors are [file, start, end]."""
        tensors = {name: [at.file, at.start, at.end] for name, at in sorted(self.tensors.items())}
        return {
            "format": self.format,
            "hub_id": self.hub_id,
            "revision": self.revision,
            "licence": self.licence,
            "tensors": tensors,
        }

    @classmethod
    def from_json(cls, data: Any) -> Origin:
        """Read what `to_json` wrote. Raises StoreError saying which part is wrong."""
        if not isinstance(data, dict):
            raise StoreError("the manifest's origin is no object")
        licence, form = _text(data, "licence"), _text(data, "format")
        hub_id, revision = _text(data, "hub_id"), _text(data, "revision")
        if hub_id is not None and not _is_hub_id(hub_id):
            raise StoreError("the manifest's hub_id is no id of a model")
        if revision is not None and not _REVISION.fullmatch(revision):
            raise StoreError("the manifest's revision is no commit")
        tensors = data.get("tensors", {})
        if not isinstance(tensors, dict) or len(tensors) > MOST_TENSORS:
            raise StoreError("the manifest's list of tensors is no object, or too long")
        return cls(
            format=form or "",
            hub_id=hub_id,
            revision=revision,
            licence=licence,
            tensors={_tensor_name(name): _place(place) for name, place in tensors.items()},
        )


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _is_short_text(value):
        raise StoreError(f"the manifest's {name} is no short text")
    return value


def _tensor_name(name: str) -> str:
    if not _TENSOR.fullmatch(name):
        raise StoreError("the manifest's origin has a tensor with an impossible name")
    return name


def _place(data: Any) -> TensorPlace:
    if not _is_place(data):
        raise StoreError("the manifest's origin has a tensor without a proper place")
    return TensorPlace(*data)


def _is_place(data: Any) -> bool:
    return (
        isinstance(data, list)
        and [type(part) for part in data] == [str, int, int]
        and _FILE.fullmatch(data[0]) is not None
        and 0 <= data[1] <= data[2] < _MOST_BYTES
    )


def _is_hub_id(text: str) -> bool:
    return _HUB_ID.fullmatch(text) is not None and ".." not in text


def _is_short_text(text: str) -> bool:
    return len(text) <= _MOST_CHARACTERS and text.isprintable()
