"""What a model's small files must not say, when they come from strangers. Pure.

Config and tokenizer are read by `transformers`, which can load Python code that a folder names. Nothing here
ever allows that, and files that ask for it are refused before they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2pinfer.errors import ModelError, UnusableModelError
from p2pinfer.model.families import check_counts, check_supported
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import CONFIG_FILE, is_small
from p2pinfer.outside.plain_json import read_json

MOST_SMALL_BYTES = 256 << 20
"""Of all small files together: they are held in memory until they have been checked."""

_CODE = frozenset({"auto_map", "custom_pipelines"})
"""Keys by which a folder names code to be loaded."""
_VOCABULARIES = frozenset({"tokenizer.json", "vocab.json", "added_tokens.json"})
"""Any text may be a token. These files are read by compiled code, which loads no other."""
_MOST_DEPTH = 32


def check_manifest(manifest: Manifest) -> None:
    """Raise UnusableModelError if no model that p2pinfer runs has it. Before any of its files comes."""
    small_bytes = manifest.bytes_of(tuple(name for name in manifest.files if is_small(name)))
    if small_bytes > MOST_SMALL_BYTES:
        raise UnusableModelError(f"{manifest.name}: config and tokenizer can't have {small_bytes:,} bytes")


def check_small_files(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Raise UnusableModelError, naming the file, if config or tokenizer are malformed, or want code run.

    `files` has the contents of small files that have the hashes of the manifest. Raises
    UnsupportedModelError for a model that p2pinfer doesn't run.
    """
    for name, data in files.items():
        if not name.endswith(".json"):
            continue
        try:
            content = read_json(data)
        except ValueError as error:
            raise UnusableModelError(f"{manifest.name}: {name} is not JSON ({error})") from error
        if not isinstance(content, dict):
            raise UnusableModelError(f"{manifest.name}: {name} is no object")
        if name not in _VOCABULARIES:
            _check_settings(manifest, name, content, 0)
        if name == CONFIG_FILE:
            _check_config(manifest, content)


def _check_config(manifest: Manifest, config: Mapping[str, Any]) -> None:
    said = (manifest.model_type, manifest.num_layers, manifest.hidden_size, manifest.vocab_size)
    fields = ("model_type", "num_hidden_layers", "hidden_size", "vocab_size")
    if said != tuple(config.get(field) for field in fields):
        raise UnusableModelError(f"{manifest.name}: its manifest and {CONFIG_FILE} describe different models")
    try:
        check_counts(config)
    except ModelError as error:
        raise UnusableModelError(f"{manifest.name}: {error}") from error
    check_supported(config)


def _check_settings(manifest: Manifest, name: str, content: Any, depth: int) -> None:
    """Refuse keys that name code, and nesting that no config has: readers of such files recurse."""
    if depth > _MOST_DEPTH:
        raise UnusableModelError(f"{manifest.name}: {name} is nested too deep")
    if isinstance(content, dict):
        for key in content:
            if key in _CODE:
                raise UnusableModelError(
                    f"{manifest.name}: {name} names code to be run ({key!r}). What comes from the swarm "
                    "never runs code: use another model"
                )
        content = list(content.values())
    if isinstance(content, list):
        for value in content:
            _check_settings(manifest, name, value, depth + 1)
