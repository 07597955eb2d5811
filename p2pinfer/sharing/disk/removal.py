"""Removes stores, and what killed programs left behind. Only from the cache folder, and nothing in use.

A store is first renamed, under the lock that its users hold. So one that is half removed never looks like a
store, and a program that is killed meanwhile leaves what the next one removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.names import MANIFEST_FILE
from p2pinfer.sharing.disk.pruning import plan_pruning
from p2pinfer.sharing.disk.shelf import StoreOnDisk, list_stores
from p2pinfer.sharing.disk.use import STORES_FOLDER, is_shelved, unused

PART_ENDING = ".part"
"""Of a file that isn't complete."""

LEFTOVER_SECONDS = 21 * 86_400.0
"""A transfer or a conversion that was begun and not gone on with for so long won't be."""

_LEAVING_ENDING = ".leaving"
_UNFINISHED_ENDING = ".unfinished"  # as model/source.py calls a conversion
_LEAVING = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(_LEAVING_ENDING)}")
_LOCK_FILE = ".pruning.lock"
_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_MOST_ROUNDS = 3


def prune(
    cache_folder: Path,
    *,
    needed_bytes: int = 0,
    budget_bytes: int | None = None,
    keep: Collection[str] = (),
    dry_run: bool = False,
) -> list[StoreOnDisk]:
    """Make room for `needed_bytes` in the cache folder, as `plan_pruning` says, and return what was removed.

    Without a budget, stores go only when the disk has no room. With `dry_run` nothing is removed. Raises
    StoreError if there can't be enough room, or the folder can't be read.
    """
    removed: list[StoreOnDisk] = []
    with _alone(cache_folder):
        if not dry_run:
            remove_leftovers(cache_folder, now=time.time())
        for _ in range(_MOST_ROUNDS):  # somebody may begin to use what was to go
            stores = list_stores(cache_folder)
            plan = plan_pruning(
                stores,
                budget_bytes=budget_bytes,
                needed_bytes=needed_bytes,
                free_bytes=_free_bytes(cache_folder),
                keep=keep,
            )
            planned = [store for path in plan for store in stores if store.path == path]
            if dry_run or not planned:
                return removed + planned
            removed += [store for store in planned if remove_store(cache_folder, store.path)]
    raise StoreError(
        f"there is not enough room in {cache_folder}: {planned[0].path} should go and can't be removed. "
        "Check its permissions"
    )


def remove_store(cache_folder: Path, folder: Path) -> bool:
    """Remove a store of the cache folder. False if it is in use, elsewhere, or can't be removed."""
    if not is_shelved(cache_folder, folder):
        return False
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{_LEAVING_ENDING}")
    with unused(folder) as free:
        if not free:
            return False
        try:
            os.rename(folder, aside)
        except OSError:
            return False
    shutil.rmtree(aside, ignore_errors=True)  # the rest of one that fails goes with the leftovers
    return True


def remove_leftovers(cache_folder: Path, *, now: float) -> int:
    """Remove what killed programs left, and return how many pieces that were.

    These are stores that were being removed, and conversions and parts of files that nobody went on with for
    three weeks before Unix seconds `now`.
    """
    count = 0
    for parent in (cache_folder, cache_folder / STORES_FOLDER):
        for folder in _folders_in(parent):
            if not is_shelved(cache_folder, folder):
                continue
            if _LEAVING.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
            elif folder.name.startswith(".") and folder.name.endswith(_UNFINISHED_ENDING):
                count += _remove_unfinished(folder, now)
            elif not folder.name.startswith(".") and (folder / MANIFEST_FILE).is_file():
                count += _remove_parts(folder, now)
    return count


def _remove_unfinished(folder: Path, now: float) -> bool:
    """A conversion's folder changes with each file; its lock is beside it."""
    layers = [path for path in (folder, folder / "layers") if path.is_dir()]
    if not all(_is_old(path, now) for path in layers):
        return False
    lock = folder.with_name(folder.name.removesuffix(_UNFINISHED_ENDING) + ".lock")
    with contextlib.suppress(OSError):
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            return True
    return False


def _remove_parts(folder: Path, now: float) -> int:
    old = [path for path in _parts_in(folder) if _is_old(path, now)]
    if not old:
        return 0
    count = 0
    with unused(folder) as free:
        for path in old if free else ():
            with contextlib.suppress(OSError):
                path.unlink()
                count += 1
    return count


def _parts_in(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):  # follows no links
        yield from (Path(parent, name) for name in names if name.endswith(PART_ENDING))


def _folders_in(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _is_old(path: Path, now: float) -> bool:
    try:
        return now - path.lstat().st_mtime > LEFTOVER_SECONDS
    except OSError:
        return False


def _free_bytes(folder: Path) -> int:
    """What the disk has free for this folder, which may not exist yet."""
    there = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), folder)
    try:
        return shutil.disk_usage(there).free
    except OSError as error:
        raise StoreError(f"{there} can't be read: {error.strerror}") from error


@contextlib.contextmanager
def _alone(cache_folder: Path) -> Iterator[None]:
    """Let two programs that make room do it one after the other, or both remove twice as much as needed.

    One that takes longer than a minute is not waited for: it is slow, not wrong.
    """
    try:
        lock = (cache_folder / _LOCK_FILE).open("a")
    except OSError:  # there is no such folder, or it can't be written: nothing can be removed
        yield
        return
    with lock:
        until = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < until:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOOK_SECONDS)
            except OSError:
                break  # a file system without locks
        yield
