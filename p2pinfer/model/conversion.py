"""Writes what a converter computes: a whole store, one with some of its layers, or files that one lacks."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from p2pinfer.errors import StoreError, UsageError
from p2pinfer.model.converter import Converter
from p2pinfer.model.formats.weights import WeightSource
from p2pinfer.model.layer_store.journal import Key
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import (
    CONFIG_FILE,
    ENDS_FILE,
    GENERATION_CONFIG_FILE,
    layer_file,
    layer_of,
)
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.layer_store.writer import StoreWriter, json_text

Progress = Callable[[str], None]

_OVERHEAD_BYTES = 1 << 20
"""A generous allowance for headers and configs. The tokenizer is counted once it is written."""
_MANIFEST_SHARE = 1 << 13
"""A manifest has 64 bytes for each MiB of the model, and the tensors' places."""

_PROGRESS_LAYERS = 10
_ASIDE_PREFIX = ".converting-"


def convert(
    source: WeightSource,
    folder: Path,
    progress: Progress,
    *,
    kept: Collection[int] | None = None,
    journal_key: Key | None = None,
) -> Manifest:
    """Write `source` as a layer store into `folder`, which must be empty or absent.

    `kept` are the layers whose files stay (None: all). The others are computed for the manifest and never
    written: the disk needs no room for them. With a `journal_key` the folder may hold what an earlier call
    with the same key has finished, and this call goes on from there.

    Raises UnsupportedModelError, ModelError if tensors are missing or of a wrong shape, UsageError if there
    is no such layer, and StoreError if the disk is full. After an error the folder is no store.
    """
    progress(f"reading {source.name}")  # and importing transformers, which takes some seconds
    converter = Converter(source)
    if kept and max(kept) >= converter.num_layers:
        raise UsageError(f"{source.name} has layers 0:{converter.num_layers}")
    head = converter.head
    for remark in (*source.remarks, *([head.remark] if head.remark else ())):
        progress(remark)
    for name in converter.tensor_files:
        converter.check(name)
    keeps = {name for name in converter.tensor_files if kept is None or _is_kept(name, kept)}
    whole_bytes = sum(map(converter.stored_bytes, converter.tensor_files))
    needed_bytes = sum(map(converter.stored_bytes, keeps)) + whole_bytes // _MANIFEST_SHARE + _OVERHEAD_BYTES
    progress(
        f"converting {source.name}: {converter.config['model_type']}, {converter.num_layers} layers, "
        f"{(whole_bytes + _OVERHEAD_BYTES) / 1e6:.0f} MB in INT8"
        + ("" if kept is None else f", {needed_bytes / 1e6:.0f} MB of it are kept")
    )
    writer = StoreWriter(folder, needed_bytes, journal_key)
    with writer.writing():
        for name in source.write_tokenizer(folder):
            writer.add_written(name)
    finished = [name for name in converter.tensor_files if writer.has(name, kept=name in keeps)]
    if finished:
        progress(f"going on: {len(finished)} of {len(converter.tensor_files)} files were finished before")
    for name in converter.tensor_files:
        layer = layer_of(name)
        if layer is not None and layer % _PROGRESS_LAYERS == 0:
            last = min(layer + _PROGRESS_LAYERS, converter.num_layers) - 1
            progress(f"converting layers {layer} to {last}")
        if name not in writer.entries:
            writer.add_tensors(name, converter.tensors(name), kept=name in keeps)
    return writer.finish(source.name, converter.config, source.generation_config, source.origin)


def reconvert(source: WeightSource, store: LayerStore, names: Sequence[str], progress: Progress) -> None:
    """Convert some files of a store whose manifest is known, and put them into its folder.

    Only the tensors of these files are read. Every file is compared with the manifest before it gets its
    name. Raises StoreError naming the first file whose bytes differ, which is not kept, or saying that the
    disk is full; ModelError and HubUnreachableError from the source. What was put in place until then stays.
    """
    manifest = store.manifest
    unknown = [name for name in names if name not in manifest.files]
    if unknown:
        raise StoreError(f"{manifest.name} has no file {unknown[0]!r}")
    converter: Converter | None = None
    with _aside(store.folder) as aside:
        writer = StoreWriter(aside, manifest.bytes_of(tuple(names)))
        small = [name for name in names if name != ENDS_FILE and layer_of(name) is None]
        if small:
            with writer.writing():
                written = write_small_files(source, aside, small)
            for name in small:
                if name in written:
                    writer.add_written(name)
                _put_in_place(source, writer, store, name)
        for number, name in enumerate(sorted(set(names) - set(small)), 1):
            progress(f"converting {name} from {source.name}, {number} of {len(names) - len(small)}")
            # The store's own config decides the shapes: the source's may come from another version.
            converter = converter or Converter(source, store.config_fields)
            writer.add_tensors(name, converter.tensors(name))
            _put_in_place(source, writer, store, name)


def write_small_files(source: WeightSource, folder: Path, names: Collection[str]) -> list[str]:
    """Write configs and tokenizer as `convert` does, if they are named. Returns the names of the files."""
    written = list(source.write_tokenizer(folder)) if set(names) - _CONFIGS else []
    fields: dict[str, dict[str, Any]] = {}
    if CONFIG_FILE in names:
        fields[CONFIG_FILE] = Converter(source).config
    if GENERATION_CONFIG_FILE in names:
        fields[GENERATION_CONFIG_FILE] = source.generation_config
    for name, described in fields.items():
        (folder / name).write_text(json_text(described), "utf-8")
    return [*written, *fields]


_CONFIGS = {CONFIG_FILE, GENERATION_CONFIG_FILE}


def _is_kept(name: str, kept: Collection[int]) -> bool:
    return name == ENDS_FILE or any(name == layer_file(layer) for layer in kept)


def _put_in_place(source: WeightSource, writer: StoreWriter, store: LayerStore, name: str) -> None:
    if writer.entries.get(name) != store.manifest.files[name]:
        raise StoreError(
            f"{name} is other than the manifest says if {source.name} is converted: another revision of the "
            f"model, or another version of p2pinfer (the manifest is of {store.manifest.origin.words})"
        )
    with writer.writing():
        target = store.folder / name
        target.parent.mkdir(exist_ok=True)
        os.replace(writer.folder / name, target)


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A folder below a store for files that aren't compared yet. Those of killed processes are removed."""
    try:
        for old in folder.glob(f"{_ASIDE_PREFIX}*"):
            with suppress(OSError):
                descriptor = os.open(old, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(old, ignore_errors=True)
                finally:
                    os.close(descriptor)
        made, held = _made_and_locked(folder)
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
            os.close(held)
    except OSError as error:
        raise StoreError(f"{folder} can't be written: {error.strerror}") from error


def _made_and_locked(folder: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock, which ends with the process. Raises OSError."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=_ASIDE_PREFIX, dir=folder))
        with suppress(FileNotFoundError):
            descriptor = os.open(made, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if made.is_dir():
                return made, descriptor
            os.close(descriptor)
        # Another process has taken it for a dead one's before it was locked.
