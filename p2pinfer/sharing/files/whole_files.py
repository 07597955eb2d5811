"""Small files that have been checked in memory, written into a store. The manifest comes last."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import MANIFEST_FILE


def write_store(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Make `folder` a store with these files. Whatever manifest is there, it is replaced.

    Two processes may do it at the same time: they write the same. Raises StoreError.
    """
    write_files(folder, files)
    write_files(folder, {MANIFEST_FILE: manifest.to_json().encode()})


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put files into a store's folder; each appears whole or not at all. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            _write(folder / name, data)
    except OSError as error:
        raise StoreError(f"{folder} can't be written: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
