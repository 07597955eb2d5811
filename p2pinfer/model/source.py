"""Opens whatever the user calls a model: a layer store as it is, anything else converted once.

Conversions live in the cache folder under a key that changes when the source does. A conversion is
made in a folder of its own and renamed when it is whole, under a lock, so that several processes that
start together convert once, and one that is killed leaves nothing that is taken for a store.
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

from p2pinfer.errors import ModelError, StoreError
from p2pinfer.model.conversion import convert
from p2pinfer.model.formats import hub
from p2pinfer.model.formats.gguf_file import GgufFile
from p2pinfer.model.formats.hf_folder import HfFolder
from p2pinfer.model.formats.weights import WeightSource
from p2pinfer.model.layer_store.manifest import FORMAT
from p2pinfer.model.layer_store.store import LayerStore

Progress = Callable[[str], None]


def open_model(model: str, *, cache_folder: Path, progress: Progress) -> LayerStore:
    """Open a layer store, an HF folder, a .gguf file or an HF model id.

    What isn't a store yet is converted into `cache_folder` and found there the next time. `progress`
    gets a line per step that takes long. Raises ModelError and its kinds.
    """
    path = locate(model, progress)
    if LayerStore.is_store(path):
        return LayerStore.open(path)
    folder = cache_folder / _key(model, path)
    if not LayerStore.is_store(folder):
        with _lock(cache_folder, folder.name, progress):
            if not LayerStore.is_store(folder):
                # the name of a killed conversion's leftovers, which the lock makes ours to remove
                aside = cache_folder / f".{folder.name}.unfinished"
                _convert_aside(open_source(model, path), folder, aside, progress)
    return LayerStore.open(folder)


def convert_model(model: str, folder: Path, progress: Progress) -> LayerStore:
    """Convert a model into `folder`, which is absent or empty. Raises ModelError and its kinds."""
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


def locate(model: str, progress: Progress) -> Path:
    """The file or folder that `model` means; a model id is looked up and downloaded if need be."""
    path = Path(model).expanduser()
    if path.exists():
        return path.resolve()
    looks_like_path = model.startswith((".", "/", "~")) or model.endswith(".gguf") or model.count("/") > 1
    if looks_like_path:
        raise ModelError(f"there is no file or folder {model}")
    return hub.fetch(model, progress)


def open_source(model: str, path: Path) -> WeightSource:
    """The weights at `path`. Raises ModelError if they can't be read."""
    if path.is_dir():
        return HfFolder(path, Path(model).name if Path(model).expanduser().exists() else model)
    if path.suffix == ".gguf":
        return GgufFile(path)
    raise ModelError(f"{path} is neither a folder nor a .gguf file")


def _key(model: str, path: Path) -> str:
    """A folder name that says what was converted, and changes when the source's files do."""
    files = [path] if path.is_file() else sorted(entry for entry in path.iterdir() if entry.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    digest = hashlib.sha256(json.dumps([FORMAT, str(path), stats]).encode()).hexdigest()
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
    """Hold the lock of one conversion; the system drops it when a process dies."""
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
