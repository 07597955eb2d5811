"""Small stores with real manifests and files of zeros."""

from __future__ import annotations

import os
from pathlib import Path

from p2pinfer.model.layer_store.chunks import FileDigest
from p2pinfer.model.layer_store.manifest import Manifest, hash_of
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, MANIFEST_FILE, layer_file
from p2pinfer.sharing.disk.shelf import fetched_folder
from p2pinfer.sharing.disk.use import USED_FILE

LAYER_BYTES = 65_536
NAMES = (CONFIG_FILE, ENDS_FILE, layer_file(0), layer_file(1))


def content(seed: int) -> bytes:
    return bytes([seed % 256, seed // 256]) * (LAYER_BYTES // 2)


def manifest_of(name: str, seed: int) -> Manifest:
    """A model of two layers; another seed makes another hash."""
    digest = FileDigest()
    digest.update(content(seed))
    files = dict.fromkeys(NAMES, digest.entry())
    return Manifest(
        hash=hash_of(files),
        name=name,
        model_type="llama",
        num_layers=2,
        hidden_size=8,
        vocab_size=8,
        max_positions=8,
        files=files,
    )


def put_store(folder: Path, name: str = "x", seed: int = 0, *, files: tuple[str, ...] = NAMES) -> Manifest:
    """Write a store with these of its files."""
    manifest = manifest_of(name, seed)
    (folder / "layers").mkdir(parents=True)
    for file in files:
        (folder / file).write_bytes(content(seed))
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    return manifest


def put_fetched(cache: Path, name: str = "x", seed: int = 0, *, files: tuple[str, ...] = NAMES) -> Path:
    """Write a store where those from peers lie."""
    folder = fetched_folder(cache, manifest_of(name, seed).hash)
    put_store(folder, name, seed, files=files)
    return folder


def mark(folder: Path, *, used_at: float, made_at: float | None = None) -> None:
    """Set when a store was last used, and when it was made."""
    (folder / USED_FILE).touch()
    os.utime(folder / USED_FILE, (used_at, used_at))
    if made_at is not None:
        os.utime(folder / MANIFEST_FILE, (made_at, made_at))
