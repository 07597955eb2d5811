"""What a model's small files must not say, when they come from strangers. Pure.

Config and tokenizer are read by `transformers`, which can load Python code that a folder names. Nothing here
ever allows that, and files that ask for it are refused before they are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from p2pinfer.errors import ModelError
from p2pinfer.model.families import family_of
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import CONFIG_FILE, is_small

MOST_SMALL_BYTES = 256 << 20
"""Of all small files together: they are held in memory until they have been checked."""

_CODE = frozenset({"auto_map", "custom_pipelines"})
"""Keys by which a folder names code to be loaded."""
_VOCABULARIES = frozenset({"tokenizer.json", "vocab.json", "added_tokens.json"})
"""Any text may be a token. These files are read by compiled code, which loads no other."""


def check_manifest(manifest: Manifest) -> None:
    """Raise ModelError if a model can't be one that p2pinfer runs. Called before any of its files comes."""
    small_bytes = manifest.bytes_of(tuple(name for name in manifest.files if is_small(name)))
    if small_bytes > MOST_SMALL_BYTES:
        raise ModelError(f"{manifest.name}: config and tokenizer can't have {small_bytes:,} bytes")


def check_small_files(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Raise ModelError, naming the file, if config or tokenizer are malformed or want code to be run.

    `files` has the contents of small files that have the hashes of the manifest.
    """
    for name, data in files.items():
        if not name.endswith(".json"):
            continue
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{manifest.name}: {name} is not JSON ({error})") from error
        if name not in _VOCABULARIES and (wanted := next(_code_wanted(content), None)):
            raise ModelError(
                f"{manifest.name}: {name} names code to be run ({wanted!r}). What comes from the swarm "
                "never runs code: use another model"
            )
        if name == CONFIG_FILE:
            _check_config(manifest, content)


def _check_config(manifest: Manifest, config: Any) -> None:
    if not isinstance(config, dict):
        raise ModelError(f"{manifest.name}: {CONFIG_FILE} is no object")
    said = (manifest.model_type, manifest.num_layers, manifest.hidden_size, manifest.vocab_size)
    fields = ("model_type", "num_hidden_layers", "hidden_size", "vocab_size")
    if said != tuple(config.get(field) for field in fields):
        raise ModelError(f"{manifest.name}: its manifest and {CONFIG_FILE} describe different models")
    family_of(config)


def _code_wanted(content: Any) -> Iterator[str]:
    """The keys that name code, at any depth; JSON that is nested too deep can't be parsed."""
    if isinstance(content, dict):
        yield from (name for name in content if name in _CODE)
        content = list(content.values())
    if isinstance(content, list):
        for value in content:
            yield from _code_wanted(value)
