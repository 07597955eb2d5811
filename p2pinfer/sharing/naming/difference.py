"""How two manifests that people take for the same model differ, in words. Pure.

What a manifest says about its source is its maker's claim, and helps people to find out why two conversions
are two swarms. It proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.plain_text import bytes_in_words, printable, several

_REVISION_CHARACTERS = 12
_MOST_CHARACTERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known about one manifest. Where nothing is known, nothing is compared."""

    name: str
    num_layers: int
    origin: Origin | None = None
    size_bytes: int | None = None  # of all files


def facts_of(manifest: Manifest) -> ModelFacts:
    """The facts of a manifest that is here."""
    return ModelFacts(
        name=manifest.name,
        num_layers=manifest.num_layers,
        origin=manifest.origin,
        size_bytes=sum(entry.bytes for entry in manifest.files.values()),
    )


def difference(theirs: ModelFacts, ours: ModelFacts) -> str:
    """How `theirs` differs: `made from GGUF Q4_1 instead of safetensors BF16, and 24 layers instead of 28`.

    Empty if nothing that is known differs.
    """
    pairs = [*_origin_pairs(theirs, ours)]
    if theirs.num_layers != ours.num_layers:
        pairs.append((several(theirs.num_layers, "layer"), str(ours.num_layers)))
    elif None not in (theirs.size_bytes, ours.size_bytes) and theirs.size_bytes != ours.size_bytes:
        pairs.append((bytes_in_words(theirs.size_bytes or 0), _other_size(theirs, ours)))
    if theirs.name != ours.name:
        pairs.insert(0, (f"called {_shown(theirs.name)}", _shown(ours.name)))
    words = [f"{there} instead of {here}" for there, here in pairs]
    return ", and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _origin_pairs(theirs: ModelFacts, ours: ModelFacts) -> list[tuple[str, str]]:
    there, here = theirs.origin, ours.origin
    if there is None or here is None:
        return []
    pairs = []
    if there.hub_id != here.hub_id:
        pairs.append((f"from {_source(there)}", _source(here)))
    elif there.revision != here.revision:
        pairs.append((f"of revision {_revision(there)}", _revision(here)))
    if there.format and here.format and there.format != here.format:
        pairs.append((f"made from {_shown(there.format)}", _shown(here.format)))
    return pairs


def _source(origin: Origin) -> str:
    return _shown(origin.hub_id) if origin.hub_id else "local files"


def _revision(origin: Origin) -> str:
    return (origin.revision or "unknown")[:_REVISION_CHARACTERS]


def _other_size(theirs: ModelFacts, ours: ModelFacts) -> str:
    there, here = bytes_in_words(theirs.size_bytes or 0), bytes_in_words(ours.size_bytes or 0)
    return here if here != there else f"{ours.size_bytes:,} B (theirs has {theirs.size_bytes:,} B)"


def _shown(text: str) -> str:
    return printable(text, _MOST_CHARACTERS)
