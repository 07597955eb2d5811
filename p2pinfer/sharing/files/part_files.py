"""The part files of one fetch: written by one thread, hashed and synced by another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable

from p2pinfer.errors import UnusableModelError
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing.files.part_file import PartFile, open_part
from p2pinfer.sharing.files.room import writing
from p2pinfer.tasks import ended
from p2pinfer.threads import BackgroundThread


class PartFiles:
    """Opens, writes and finishes part files of a store. An event-loop object; end it with `close`.

    One caller at a time opens, finishes or discards the same file.
    """

    def __init__(self, store: LayerStore, names: Iterable[str]) -> None:
        """`names` are all files of the fetch: a full disk's error tells what they need."""
        self._store = store
        self._chunks = store.manifest.chunks
        self._names = tuple(names)
        self._open: dict[str, PartFile] = {}
        self._writer = BackgroundThread("p2pinfer-chunks")  # does only what takes milliseconds
        self._hasher = BackgroundThread("p2pinfer-files")
        self._stop = threading.Event()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, name: str) -> bool:
        return name in self._open

    async def open(self, name: str) -> list[int] | None:
        """Open and lock a file; returns the numbers of its chunks that are here already.

        None: another process, or another fetch of this one, has it. Raises StoreError.
        """
        opening = asyncio.ensure_future(self._writer.run(lambda: self._open_part(name)))
        try:
            await ended(opening)
        finally:  # also if we are cancelled: what is open has to be closed
            if opening.done() and opening.exception() is None and (part := opening.result()) is not None:
                self._open[name] = part
        if (part := opening.result()) is None:
            return None
        return await self._good_chunks(name, part)

    async def write(self, number: int, data: bytes) -> bool:
        """Compare a chunk with its hash, and write it; False: it is another. Raises StoreError.

        A chunk of a file that isn't open is only compared.
        """
        place = self._chunks.place(number)
        part = self._open.get(place.file)
        index = number - self._chunks.chunks_of(place.file).start

        def verify_and_write() -> bool:
            if not place.is_right(data):
                return False
            if part is not None and part.is_open:
                with writing(self._store, self._names):
                    part.write(index, data)
            return True

        return await self._writer.run(verify_and_write)

    async def finish(self, name: str) -> list[int] | None:
        """Give a file its name, if all its bytes are right: returns None, and the file is closed.

        Otherwise the disk has altered something: returns the numbers of the chunks that are still right.
        Raises StoreError if it can't be written, UnusableModelError if the manifest contradicts itself.
        """
        part = self._open[name]

        def finish() -> bool:
            with writing(self._store, self._names):
                return part.finish(self._stop.is_set)

        if await self._hasher.run(finish):
            await self._close_one(name, part.close)
            return None
        good = await self._good_chunks(name, part)
        if len(good) == len(self._chunks.chunks_of(name)):
            raise UnusableModelError(
                f"the manifest contradicts itself: {name} has the chunks that it lists, and another SHA-256. "
                "Nobody can serve this model: take another"
            )
        return good

    async def discard(self, name: str) -> None:
        """Remove the part file of a file that came another way, and give up its lock."""
        part = self._open[name]

        def discard() -> None:
            with writing(self._store, self._names):
                part.discard()
            part.close()

        await self._close_one(name, discard)

    async def close(self) -> None:
        """Give up all locks, also if cancelled meanwhile; what has come stays."""
        self._stop.set()
        parts = list(self._open.values())
        self._open.clear()

        def close_parts() -> None:
            for part in parts:
                part.close()

        async def close() -> None:
            await self._hasher.run(lambda: None)  # behind what still reads
            await self._writer.run(close_parts)  # behind what still writes

        try:
            await ended(asyncio.ensure_future(close()))
        finally:
            self._writer.close()
            self._hasher.close()

    async def _close_one(self, name: str, close: Callable[[], None]) -> None:
        await self._writer.run(close)
        del self._open[name]

    def _open_part(self, name: str) -> PartFile | None:
        with writing(self._store, self._names):
            return open_part(self._store.folder, name, self._store.manifest.files[name])

    async def _good_chunks(self, name: str, part: PartFile) -> list[int]:
        def read() -> list[int]:
            with writing(self._store, self._names):
                return part.good_chunks(self._stop.is_set)

        first = self._chunks.chunks_of(name).start
        return [first + index for index in await self._hasher.run(read)]
