"""The stores in a cache folder: which there are, how large they are, when they were used.

`CACHE/stores/<hash>` are those that were fetched from peers, `CACHE/<name and key>` conversions. Whatever
else lies there, and whatever can't be read, is passed over. No symbolic link is followed.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.manifest import MAX_MANIFEST_BYTES, Manifest
from p2pinfer.model.layer_store.names import MANIFEST_FILE
from p2pinfer.outside.plain_json import read_json
from p2pinfer.plain_text import printable
from p2pinfer.sharing.disk.use import STORES_FOLDER, is_used, last_used

_HASH_AT_THE_BEGINNING = re.compile(rb'"hash": "([0-9a-f]{64})"')
_BEGINNING_BYTES = 4096
_MOST_FILES = 20_000
"""Of one store; it has at most 4,096 layers, and as many parts of files."""

_MOST_NAME_CHARACTERS = 128
_ANY_FORMAT = "p2pinfer-int8-"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOnDisk:
    """One store, as it was when it was looked at."""

    path: Path
    hash: str
    name: str  # as its manifest says: from strangers, if it was fetched
    bytes_on_disk: int  # what removing it gives back; files with holes take less than their size
    made_at: float  # Unix seconds, when its manifest was written
    last_used: float  # Unix seconds
    is_complete: bool  # every file of the manifest is here, by its size
    is_used: bool  # a program uses it now
    is_unreadable: bool = False  # of another version of p2pinfer, or damaged: nobody opens it


def fetched_folder(cache_folder: Path, model: str) -> Path:
    """Where the store of a manifest hash is fetched to."""
    return cache_folder / STORES_FOLDER / model


def find(cache_folder: Path, model: str) -> Path | None:
    """The store of this manifest hash that has most of its files; None if there is none."""
    best: tuple[int, Path] | None = None
    for folder in _folders(cache_folder):
        if _hash_at_the_beginning(folder) != model:
            continue
        with contextlib.suppress(OSError, ValueError, StoreError):
            manifest = Manifest.from_json(_manifest_text(folder))
            held = [entry.bytes for name, entry in manifest.files.items() if _has(folder, manifest, name)]
            if manifest.hash == model and (best is None or sum(held) > best[0]):
                best = (sum(held), folder)
    return best[1] if best is not None else None


def list_stores(cache_folder: Path) -> list[StoreOnDisk]:
    """Every store, by its folder's name. It reads all manifests: some seconds where there are many."""
    found = [_store(folder) for folder in _folders(cache_folder)]
    return sorted(
        (store for store in found if store is not None), key=lambda store: (store.path.name, store.path)
    )


def _store(folder: Path) -> StoreOnDisk | None:
    """What is known about a folder; None if it is no store, or was removed meanwhile."""
    try:
        text, made_at = _manifest_text(folder), (folder / MANIFEST_FILE).lstat().st_mtime
    except (OSError, ValueError):
        return None
    facts: dict[str, Any]
    try:
        manifest = Manifest.from_json(text)
    except StoreError:
        if (facts := _unreadable(text)) == {}:
            return None
    else:
        is_complete = all(_has(folder, manifest, name) for name in manifest.files)
        facts = {"hash": manifest.hash, "name": manifest.name, "is_complete": is_complete}
    return StoreOnDisk(
        path=folder,
        bytes_on_disk=_bytes_on_disk(folder),
        made_at=made_at,
        last_used=last_used(folder),
        is_used=is_used(folder),
        **facts,
    )


def _unreadable(text: str) -> dict[str, Any]:
    """What the manifest of another version, or a damaged one, says; nothing if it is no manifest."""
    try:
        data = read_json(text)
    except ValueError:
        return {}
    if not isinstance(data, dict) or not str(data.get("format")).startswith(_ANY_FORMAT):
        return {}
    return {
        "hash": printable(str(data.get("hash")), 64),
        "name": printable(str(data.get("name")), _MOST_NAME_CHARACTERS),
        "is_complete": False,
        "is_unreadable": True,
    }


def _folders(cache_folder: Path) -> Iterator[Path]:
    """The folders that may be stores, none by way of a link. One with a dot isn't finished, or is leaving."""
    fetched = cache_folder / STORES_FOLDER
    for parent in (cache_folder, *(() if fetched.is_symlink() else (fetched,))):
        try:
            with os.scandir(parent) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        yield from (parent / name for name in sorted(names) if name[0] != "." and parent / name != fetched)


def _hash_at_the_beginning(folder: Path) -> str | None:
    """What manifest.json says first, so that not every manifest is read whole to find one."""
    with contextlib.suppress(OSError, ValueError):
        _check_is_file(folder / MANIFEST_FILE)
        with (folder / MANIFEST_FILE).open("rb") as file:
            found = _HASH_AT_THE_BEGINNING.search(file.read(_BEGINNING_BYTES))
            return found[1].decode() if found else None
    return None


def _manifest_text(folder: Path) -> str:
    """Raises OSError and ValueError."""
    _check_is_file(folder / MANIFEST_FILE)
    return (folder / MANIFEST_FILE).read_text("utf-8")


def _check_is_file(path: Path) -> None:
    """A link leads elsewhere, and a pipe is never read to its end."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_MANIFEST_BYTES:
        raise ValueError(f"{path} is no manifest")


def _has(folder: Path, manifest: Manifest, name: str) -> bool:
    try:
        return (folder / name).lstat().st_size == manifest.files[name].bytes
    except OSError:
        return False


def _bytes_on_disk(folder: Path) -> int:
    total = seen = 0
    for parent, _, names in os.walk(folder):  # follows no links
        for name in names:
            seen += 1
            if seen > _MOST_FILES:
                return total
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total
