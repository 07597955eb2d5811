"""The files of one fetch: which of them are here, on their way, or still to be begun, and their bytes."""

from __future__ import annotations

from collections.abc import Iterable

from p2pinfer.model.layer_store.store import LayerStore


class Share:
    """What is missing of the files wanted, by file and by chunk. Pure bookkeeping."""

    def __init__(self, store: LayerStore, names: Iterable[str]) -> None:
        manifest = store.manifest
        self._chunks = manifest.chunks
        self._sizes = {name: manifest.files[name].bytes for name in dict.fromkeys(names)}
        self._missing_chunks: dict[str, set[int]] = {}  # of files that are on their way
        self._seen: dict[str, int] = {}  # bytes on disk of files that somebody has begun, and not we
        self.left = set(store.missing(self._sizes))
        """The files that aren't whole yet."""
        self.total_bytes = sum(self._sizes.values())
        self.missing_bytes_at_start = sum(self._sizes[name] for name in self.left)

    @property
    def done_bytes(self) -> int:
        """Bytes that are here, in files whole or not; of those that aren't begun, as they were seen."""
        waiting = sum(
            max(0, self._sizes[name] - self._seen.get(name, 0))
            for name in self.left
            if name not in self._missing_chunks
        )
        coming = sum(self._size(number) for chunks in self._missing_chunks.values() for number in chunks)
        return self.total_bytes - waiting - coming

    def seen(self, name: str, size_bytes: int) -> None:
        """So much of a file is on disk, from an earlier fetch or by another process. It is not checked."""
        self._seen[name] = size_bytes

    def begun(self, name: str, good: Iterable[int]) -> set[int]:
        """A file is on its way, and these chunks of it are here; returns those that aren't."""
        self._missing_chunks[name] = set(self._chunks.chunks_of(name)) - set(good)
        return self._missing_chunks[name]

    def missing_of(self, name: str) -> set[int]:
        """The chunks that are missing of a file that is on its way."""
        return self._missing_chunks[name]

    def came(self, number: int) -> str | None:
        """A chunk is here. Returns the name of its file, if that was the last one."""
        name = self._chunks.place(number).file
        missing = self._missing_chunks.get(name)
        if missing is None or number not in missing:
            return None
        missing.remove(number)
        return None if missing else name

    def done(self, name: str) -> None:
        """A file is here, whole."""
        self.left.discard(name)
        self._missing_chunks.pop(name, None)

    def _size(self, number: int) -> int:
        return self._chunks.place(number).size
