"""Opens the model that a user names: a layer store as it is, any other format after one conversion.

Conversions live in the cache folder, under a key that changes with the source. A conversion is written to a
folder of its own and renamed when it is complete, under a lock. So processes that start together convert
once, and a process that is killed leaves nothing that looks like a store. What a conversion of local files
leaves is removed. What a conversion from the hub leaves is kept: the next one goes on from there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from p2pinfer.errors import HubUnreachableError, ModelError, StoreError, UnsupportedModelError
from p2pinfer.model.conversion import convert
from p2pinfer.model.formats.hub.repository import HubRepository, find_repository
from p2pinfer.model.formats.lookup import Received, locate, locate_here, open_source
from p2pinfer.model.layer_store.journal import JOURNAL_FILE, Key, read_key
from p2pinfer.model.layer_store.manifest import FORMAT, MANIFEST_FORMAT
from p2pinfer.model.layer_store.store import LayerStore

Progress = Callable[[str], None]


def find_model(model: str, cache_folder: Path) -> Path | HubRepository:
    """Where a model is: its file or folder, the store that was made of a hub's model before, or the hub.

    Only a model that is nowhere on this machine is asked for: one question to the hub, and nothing is
    fetched. Raises ModelError, and HubUnreachableError if the hub doesn't answer.
    """
    here = locate_here(model)
    if here is not None:
        return here
    made = cache_folder / _hub_key(model)
    return made if LayerStore.is_store(made) else find_repository(model)


def is_here(model: str, cache_folder: Path) -> bool:
    """True if a model can be opened without the network. Raises ModelError if it can't be a model."""
    return locate_here(model) is not None or LayerStore.is_store(cache_folder / _hub_key(model))


def open_model(
    model: str, *, cache_folder: Path, progress: Progress, on_received: Received | None = None
) -> LayerStore:
    """Open a layer store, an HF folder, a .gguf file or an HF model id.

    Other formats are converted into `cache_folder`, and found there the next time. `progress` gets a line
    for each long step, `on_received` the bytes of each piece that comes from the hub, maybe in another
    thread. What they raise ends the conversion; of a hub's model the finished layers are kept. Raises
    ModelError and its subclasses.
    """
    place = find_model(model, cache_folder)
    if isinstance(place, Path) and LayerStore.is_store(place):
        return LayerStore.open(place)
    folder = cache_folder / (_key(model, place) if isinstance(place, Path) else _hub_key(model))
    if not LayerStore.is_store(folder):
        with _lock(cache_folder, folder.name, progress):
            if not LayerStore.is_store(folder):
                # A killed conversion may have left this folder; the lock allows us to remove it, or to go on.
                aside = unfinished_folder(folder)
                _convert_aside(model, place, folder, aside, progress, on_received=on_received)
    return LayerStore.open(folder)


def convert_model(
    model: str,
    folder: Path,
    progress: Progress,
    *,
    kept: Collection[int] | None = None,
    revision: str | None = None,
) -> LayerStore:
    """Convert a model into `folder`, which is absent or empty. `kept` are the layers whose files stay.

    Raises ModelError and its subclasses, and UsageError if the model has no such layers.
    """
    place = locate(model, revision)
    if isinstance(place, Path) and LayerStore.is_store(place):
        raise StoreError(f"{place} is a layer store already")
    folder = folder.absolute()
    _check_empty(folder)
    if isinstance(place, Path):
        aside = folder.with_name(f".{folder.name}.{os.getpid()}")
        _convert_aside(model, place, folder, aside, progress, kept)
    else:
        with _lock(folder.parent, folder.name, progress, is_kept=False):
            _check_empty(folder)  # another process may have finished it meanwhile
            aside = unfinished_folder(folder)
            _convert_aside(model, place, folder, aside, progress, kept, goes_on_only_at=revision)
    return LayerStore.open(folder)


def unfinished_folder(folder: Path) -> Path:
    """Where a conversion into `folder` keeps what a later one can go on with."""
    return folder.with_name(f".{folder.name}.unfinished")


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} exists and is not empty: choose another folder, or remove it")


def _key(model: str, path: Path) -> str:
    """A folder name that shows the model, and changes with the source's files."""
    files = [path] if path.is_file() else sorted(entry for entry in path.iterdir() if entry.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return _named(model, [str(path), stats])


def _hub_key(model: str) -> str:
    """A folder name for a model of the hub. It stays when the hub has a new commit: nothing is made twice."""
    return _named(model, ["hub", model])


def _named(model: str, parts: list[object]) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, MANIFEST_FORMAT, *parts]).encode()).hexdigest()
    return f"{re.sub('[^A-Za-z0-9.]+', '-', Path(model).stem).strip('-.') or 'model'}-{digest[:12]}"


def _convert_aside(
    model: str,
    place: Path | HubRepository,
    folder: Path,
    aside: Path,
    progress: Progress,
    kept: Collection[int] | None = None,
    goes_on_only_at: str | None = None,
    on_received: Received | None = None,
) -> None:
    key: Key | None = None
    if isinstance(place, HubRepository):
        place = place if goes_on_only_at else _at_the_commit_of(aside, place)
        key = _journal_key(place)
    else:
        shutil.rmtree(aside, ignore_errors=True)
    keeps = False
    try:
        source = open_source(model, place, progress, on_received=on_received)
        convert(source, aside, progress, kept=kept, journal_key=key)
        if folder.exists() and not LayerStore.is_store(folder):
            folder.rmdir()
        os.replace(aside, folder)
        (folder / JOURNAL_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} can't be written: {error.strerror}") from error
    except BaseException as error:
        # A full disk is left as it was, and what isn't supported will not be so the next time.
        keeps = key is not None and not isinstance(error, StoreError | UnsupportedModelError)
        if keeps and aside.exists():
            progress(f"what is converted stays in {aside}: the next try goes on from there")
        raise
    finally:
        if not keeps:
            shutil.rmtree(aside, ignore_errors=True)


def _journal_key(repository: HubRepository) -> Key:
    return {
        "format": FORMAT,
        "manifest": MANIFEST_FORMAT,
        "hub_id": repository.id,
        "revision": repository.revision,
    }


def _at_the_commit_of(aside: Path, repository: HubRepository) -> HubRepository:
    """The repository at the commit at which an unfinished conversion read it, if the hub still has it."""
    key = read_key(aside) or {}
    revision = key.get("revision")
    same = key == {**_journal_key(repository), "revision": revision}
    if not same or not isinstance(revision, str) or revision == repository.revision:
        return repository
    try:
        return find_repository(repository.id, revision, endpoint=repository.endpoint)
    except HubUnreachableError:
        raise
    except ModelError:
        return repository


@contextmanager
def _lock(folder: Path, name: str, progress: Progress, *, is_kept: bool = True) -> Iterator[None]:
    """Hold the lock of one conversion. The system releases it when the process dies.

    The lock's file stays, unless `is_kept` is False.
    """
    path = folder / f".{name}.lock"
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = path.open("w")
        except OSError as error:
            raise StoreError(f"{folder} can't be written: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("another process is converting this model; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_file(path, file.fileno()):
                continue  # its last holder has removed it: nobody else sees this one
            try:
                yield
            finally:
                if not is_kept:
                    with suppress(OSError):
                        path.unlink()
            return


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
