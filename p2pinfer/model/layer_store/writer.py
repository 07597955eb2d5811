"""Writes a layer store's files one by one, and last the manifest, which makes the folder a store."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.chunks import FileDigest, FileEntry
from p2pinfer.model.layer_store.journal import Journal, Key
from p2pinfer.model.layer_store.manifest import Manifest, hash_of
from p2pinfer.model.layer_store.names import CONFIG_FILE, GENERATION_CONFIG_FILE, MANIFEST_FILE
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.model.layer_store.tensors import tensors_entry, write_tensors

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreWriter:
    """An unfinished store in a folder of its own. Only `finish` makes it a store."""

    def __init__(self, folder: Path, needed_bytes: int, journal_key: Key | None = None) -> None:
        """With a key, go on with what another writer with this key has finished in the folder.

        Raises StoreError if the disk has less free than what is missing of `needed_bytes`.
        """
        self.folder = folder
        self._needed_bytes = needed_bytes
        self.entries: dict[str, FileEntry] = {}
        self._journal: Journal | None = None
        with self.writing():
            if journal_key is not None:
                self._journal = Journal(folder, journal_key)
            (folder / "layers").mkdir(parents=True, exist_ok=True)
            free_bytes = shutil.disk_usage(folder).free
        if free_bytes < needed_bytes - (self._journal.kept_bytes() if self._journal else 0):
            raise self._full(free_bytes)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failed write into a StoreError that names the bytes needed and free."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise self._full(shutil.disk_usage(self.folder).free) from error
            raise StoreError(f"{self.folder} can't be written: {error.strerror}") from error

    def has(self, name: str, *, kept: bool = True) -> bool:
        """True if the journal has a file, and its bytes are here; without `kept` they needn't be."""
        entry = self._journal.finished(name, kept=kept) if self._journal is not None else None
        if entry is not None:
            self.entries[name] = entry
        return entry is not None

    def add_tensors(self, name: str, tensors: Mapping[str, NDArray[Any]], *, kept: bool = True) -> None:
        """Write one safetensors file. If not `kept` only its entry is computed."""
        with self.writing():
            self.entries[name] = (
                write_tensors(self.folder / name, tensors) if kept else tensors_entry(tensors)
            )
            if self._journal is not None:
                self._journal.add(name, self.entries[name])

    def add_json(self, name: str, fields: Mapping[str, Any]) -> None:
        """Write one JSON file, keys sorted."""
        with self.writing():
            (self.folder / name).write_text(json_text(fields), "utf-8")
            self.add_written(name)

    def add_written(self, name: str) -> None:
        """Add a file that is in the folder already."""
        digest = FileDigest()
        digest.update((self.folder / name).read_bytes())
        self.entries[name] = digest.entry()

    def finish(
        self, name: str, config: Mapping[str, Any], generation_config: Mapping[str, Any], origin: Origin
    ) -> Manifest:
        """Write both configs and the manifest: from now on the folder is a store."""
        self.add_json(CONFIG_FILE, config)
        self.add_json(GENERATION_CONFIG_FILE, generation_config)
        manifest = Manifest(
            hash=hash_of(self.entries),
            name=name,
            model_type=config["model_type"],
            num_layers=config["num_hidden_layers"],
            hidden_size=config["hidden_size"],
            vocab_size=config["vocab_size"],
            max_positions=config["max_position_embeddings"],
            files=self.entries,
            origin=origin,
        )
        with self.writing(), (self.folder / MANIFEST_FILE).open("w", encoding="utf-8") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        return manifest

    def _full(self, free_bytes: int) -> StoreError:
        return StoreError(
            f"the disk is too full for the converted model: it needs {self._needed_bytes:,} bytes and "
            f"{self.folder} has {free_bytes:,} free"
        )


def json_text(fields: Mapping[str, Any]) -> str:
    """How a store writes JSON: keys sorted, so that equal fields give equal bytes."""
    return json.dumps(fields, indent=1, sort_keys=True) + "\n"
