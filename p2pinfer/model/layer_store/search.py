"""Finds a manifest: in a folder, as a file, or by its hash among the stores of the cache folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.manifest import MAX_MANIFEST_BYTES, Manifest
from p2pinfer.model.layer_store.names import MANIFEST_FILE

_HASH = re.compile(r"[0-9a-f]{64}")


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file. Raises StoreError if it can't be read, or is malformed."""
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise StoreError(f"{path} is too large to be a manifest")
        return Manifest.from_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path.parent} is no layer store: {MANIFEST_FILE} can't be read ({error})"
        ) from error


def find_manifest(store: str, cache_folder: Path) -> Manifest:
    """The manifest of a store: its folder, its manifest.json, or its hash of 64 hex digits.

    A hash is looked for in the cache folder. Raises StoreError if there is none.
    """
    path = Path(store).expanduser()
    if path.exists() or not _HASH.fullmatch(store):
        return read_manifest(path / MANIFEST_FILE if path.is_dir() else path)
    for found in _manifests(cache_folder):
        if found.hash == store:
            return found
    raise StoreError(
        f"no store in {cache_folder} has the hash {store}: give the folder of a store, or --cache-folder"
    )


def _manifests(folder: Path) -> Iterator[Manifest]:
    """Those of all stores in a cache folder; what can't be read is passed over."""
    for pattern in (f"*/{MANIFEST_FILE}", f"*/*/{MANIFEST_FILE}"):
        for path in sorted(folder.glob(pattern)):
            try:
                yield read_manifest(path)
            except StoreError:
                continue
