"""Opens the model that a user names: a layer store as it is, any other format after one conversion.

Conversions live in the cache folder, under a key that changes with the source. A conversion is written to a
folder of its own and renamed when it is complete, under a lock. So processes that start together convert
once, and a process that is killed leaves nothing that looks like a store.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pinfer.errors import StoreError
from p2pinfer.model.conversion import convert
from p2pinfer.model.formats.lookup import locate, open_source
from p2pinfer.model.formats.weights import WeightSource
from p2pinfer.model.layer_store.manifest import FORMAT, MANIFEST_FORMAT
from p2pinfer.model.layer_store.store import LayerStore

Progress = Callable[[str], None]


def open_model(model: str, *, cache_folder: Path, progress: Progress) -> LayerStore:
    """Open a layer store, an HF folder, a .gguf file or an HF model id.

    Other formats are converted into `cache_folder`, and found there the next time. `progress` gets a line
    for each long step. Raises ModelError and its subclasses.
    """
    path = locate(model, progress)
    if LayerStore.is_store(path):
        return LayerStore.open(path)
    folder = cache_folder / _key(model, path)
    if not LayerStore.is_store(folder):
        with _lock(cache_folder, folder.name, progress):
            if not LayerStore.is_store(folder):
                # A killed conversion may have left this folder; the lock allows us to remove it.
                aside = cache_folder / f".{folder.name}.unfinished"
                _convert_aside(open_source(model, path), folder, aside, progress)
    return LayerStore.open(folder)


def convert_model(model: str, folder: Path, progress: Progress) -> LayerStore:
    """Convert a model into `folder`, which is absent or empty. Raises ModelError and its subclasses."""
    path = locate(model, progress)
    if LayerStore.is_store(path):
        raise StoreError(f"{path} is a layer store already")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} exists and is not empty: choose another folder, or remove it")
    folder = folder.absolute()
    _convert_aside(
        open_source(model, path), folder, folder.with_name(f".{folder.name}.{os.getpid()}"), progress
    )
    return LayerStore.open(folder)


def _key(model: str, path: Path) -> str:
    """A folder name that shows the model, and changes with the source's files."""
    files = [path] if path.is_file() else sorted(entry for entry in path.iterdir() if entry.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    digest = hashlib.sha256(json.dumps([FORMAT, MANIFEST_FORMAT, str(path), stats]).encode()).hexdigest()
    return f"{re.sub('[^A-Za-z0-9.]+', '-', Path(model).stem).strip('-.') or 'model'}-{digest[:12]}"


def _convert_aside(source: WeightSource, folder: Path, aside: Path, progress: Progress) -> None:
    shutil.rmtree(aside, ignore_errors=True)
    try:
        convert(source, aside, progress)
        if folder.exists() and not LayerStore.is_store(folder):
            folder.rmdir()
        os.replace(aside, folder)
    except OSError as error:
        raise StoreError(f"{folder} can't be written: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _lock(folder: Path, name: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of one conversion. The system releases it when the process dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f".{name}.lock").open("w")
    except OSError as error:
        raise StoreError(f"{folder} can't be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is converting this model; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
