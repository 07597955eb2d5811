"""Room on the disk: looked for before anything is fetched, and missed with a clear error."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.plain_text import bytes_in_words
from p2pinfer.sharing.files.part_file import bytes_on_disk

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def needed_bytes(store: LayerStore, names: Iterable[str]) -> int:
    """Bytes that these files will still take: without those that part files have on disk already."""
    needed = 0
    for name in names:
        if not store.has(name):
            size = store.manifest.files[name].bytes
            needed += max(0, size - bytes_on_disk(store.folder, name))
    return needed


def check_room(store: LayerStore, names: Iterable[str]) -> None:
    """Raises StoreError if the disk has less room than these files still need."""
    with writing(store, names):
        store.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(store.folder).free
    needed = needed_bytes(store, names)
    if free < needed:
        raise _full(store.folder, needed, free)


@contextmanager
def writing(store: LayerStore, names: Iterable[str]) -> Iterator[None]:
    """Turn a failed write into a StoreError. Of a full disk it tells what `names` need and what is free."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise StoreError(f"{store.folder} can't be written: {error.strerror}") from error
        try:
            free = shutil.disk_usage(store.folder).free
        except OSError:
            free = 0
        raise _full(store.folder, needed_bytes(store, names), free) from error


def _full(folder: Path, needed: int, free: int) -> StoreError:
    return StoreError(
        f"the disk is too full for the model's files: they need {bytes_in_words(needed)}, and {folder} "
        f"has {bytes_in_words(free)} free. Make room: what has come is kept, and the next try goes on there"
    )
