"""Which chunks of one model lie on this disk, and the way to read them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from p2pinfer.model.layer_store.chunks import ChunkPlace
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.bitmaps import Mask
from p2pinfer.sharing.files.part_file import part_path
from p2pinfer.threads import BackgroundThread

logger = logging.getLogger(__name__)


class Holdings:
    """The chunks that can be given to others: of complete files, and verified ones of files on their way.

    What is held is believed, not known, until it is read: `read` compares each chunk with its hash. An
    event-loop object.
    """

    def __init__(self, store: LayerStore) -> None:
        """Look at the store's files: a complete file has the size that the manifest says."""
        self.chunks = store.manifest.chunks
        self._folder = store.folder
        self._names = tuple(store.manifest.files)
        self._mask = bitmaps.empty(self.chunks.total)
        self._complete: set[str] = set()
        self._added: list[int] = []  # since the beginning, in order, for those who watch
        self._news = asyncio.Event()
        self._reported: set[str] = set()
        self._reader = BackgroundThread("p2pinfer-give")
        for name in self._names:
            if store.has(name):
                self.file_done(name)

    @property
    def held(self) -> Mask:
        """All chunks that are held, as they are now: copy it to keep it, and don't write to it."""
        return self._mask

    def __contains__(self, number: int) -> bool:
        return 0 <= number < len(self._mask) and bool(self._mask[number])

    def __len__(self) -> int:
        return int(self._mask.sum())

    def holds(self, names: Iterable[str]) -> bool:
        """True if all these files are here, whole, and no damage was found in them."""
        return all(name in self._complete for name in names)

    def add(self, numbers: Iterable[int]) -> None:
        """Verified chunks have come."""
        new = [number for number in numbers if not self._mask[number]]
        if new:
            self._mask[new] = True
            self._added += new
            self._news.set()
            self._news = asyncio.Event()

    def file_done(self, name: str) -> None:
        """A file has come whole, by whatever way."""
        self._complete.add(name)
        self.add(self.chunks.chunks_of(name))

    def remove(self, numbers: Iterable[int]) -> None:
        """These chunks were found altered."""
        self._mask[list(numbers)] = False

    def drop_file(self, name: str) -> None:
        """A file is gone, or was found damaged: none of it is given to others any more."""
        self._complete.discard(name)
        numbers = self.chunks.chunks_of(name)
        self._mask[numbers.start : numbers.stop] = False

    async def remove_files(self, names: Iterable[str]) -> bool:
        """Give these files to nobody any more, and remove them. False if none of them is here."""
        there = [name for name in names if name in self._complete]
        for name in there:
            self.drop_file(name)
            await self._reader.run(partial((self._folder / name).unlink, missing_ok=True))
        return bool(there)

    @property
    def added(self) -> int:
        """How many chunks have ever been added: where a watcher begins."""
        return len(self._added)

    async def more_than(self, added: int) -> list[int]:
        """Wait until more than `added` chunks have been added; returns those that came since, in order."""
        while len(self._added) <= added:
            await self._news.wait()
        return self._added[added:]

    async def read(self, number: int) -> bytes | None:
        """A chunk's bytes, which have its hash. None if they are gone or altered: then it isn't held.

        Damage is logged, once for each file.
        """
        place = self.chunks.place(number)
        data = await self._reader.run(lambda: _read(self._folder, place))
        if data is None and self._mask[number]:
            self._mask[number] = False
            self._complete.discard(place.file)
            if place.file not in self._reported:
                self._reported.add(place.file)
                logger.warning(
                    "%s was altered or removed on this disk: what is damaged is not given to other peers. "
                    "Check the disk, and remove the file: it is fetched again at the next start",
                    self._folder / place.file,
                )
        return data

    def close(self) -> None:
        """Let the thread that reads end."""
        self._reader.close()


def _read(folder: Path, place: ChunkPlace) -> bytes | None:
    """Blocking. A file may get its name between two looks: so its place is looked at twice."""
    path = folder / place.file
    for candidate in (path, part_path(folder, place.file), path):
        try:
            with open(candidate, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), place.size, place.offset)
        except OSError:
            continue
        if place.is_right(data):
            return data
    return None
