"""Finds a manifest: in a folder, as a file, or by its hash among the stores of the cache folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.manifest import MAX_MANIFEST_BYTES, Manifest
from p2pinfer.model.layer_store.names import MANIFEST_FILE

_HASH = re.compile(r"(?:.+@)?([0-9a-f]{8,64})")


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
    """The manifest of a store: its folder, its manifest.json, or its hash, as `NAME@HASH` too.

    A hash, or its first 8 digits or more, is looked for in the cache folder. Raises StoreError if there is
    none, or several.
    """
    path, digits = Path(store).expanduser(), _HASH.fullmatch(store)
    if path.exists():
        return read_manifest(path / MANIFEST_FILE if path.is_dir() else path)
    if digits is None:
        raise StoreError(f"there is no folder or file {store}, and it is no hash of a model (8 to 64 digits)")
    found = {one.hash: one for one in _manifests(cache_folder) if one.hash.startswith(digits[1])}
    if not found:
        raise StoreError(
            f"no store in {cache_folder} has the hash {digits[1]}: `python -m p2pinfer.stores list` shows "
            "those that are there; or give the folder of a store, or --cache-folder"
        )
    if len(found) > 1:
        raise StoreError(f"several stores in {cache_folder} have a hash that begins so: give more digits")
    return next(iter(found.values()))


def _manifests(folder: Path) -> Iterator[Manifest]:
    """Those of all stores in a cache folder; what can't be read is passed over."""
    for pattern in (f"*/{MANIFEST_FILE}", f"*/*/{MANIFEST_FILE}"):
        for path in sorted(folder.glob(pattern)):
            try:
                yield read_manifest(path)
            except StoreError:
                continue
