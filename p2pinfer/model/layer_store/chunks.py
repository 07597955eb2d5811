"""Files in chunks of 1 MiB, each with its hash: so a piece from a stranger is checked as it comes.

The chunks of all files of a store are numbered through: files in the order of their names, and within a
file from its start. Peers that have the same manifest mean the same chunk by a number.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a store."""

    sha256: str
    bytes: int
    chunks: tuple[str, ...]
    """SHA-256 of each CHUNK_BYTES, in order; the last chunk may be shorter."""


class FileDigest:
    """Computes the entry of a file whose bytes are passed in order."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._chunk = hashlib.sha256()
        self._bytes = 0
        self._chunks: list[str] = []

    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes of the file."""
        view = memoryview(data)
        self._whole.update(view)
        while view:
            piece = view[: CHUNK_BYTES - self._bytes % CHUNK_BYTES]
            self._chunk.update(piece)
            self._bytes += len(piece)
            if self._bytes % CHUNK_BYTES == 0:
                self._end_chunk()
            view = view[len(piece) :]

    def entry(self) -> FileEntry:
        """The entry, after the last byte."""
        if self._bytes % CHUNK_BYTES:
            self._end_chunk()
        return FileEntry(self._whole.hexdigest(), self._bytes, tuple(self._chunks))

    def _end_chunk(self) -> None:
        self._chunks.append(self._chunk.hexdigest())
        self._chunk = hashlib.sha256()


def number_of_chunks(size_bytes: int) -> int:
    """How many chunks a file of this size has."""
    return -(-size_bytes // CHUNK_BYTES)


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where a chunk lies, and what it must be."""

    file: str
    offset: int
    size: int  # in bytes
    sha256: str

    def is_right(self, data: bytes | memoryview) -> bool:
        """True if `data` is this chunk."""
        return len(data) == self.size and hashlib.sha256(data).hexdigest() == self.sha256


class ChunkMap:
    """The numbers of a store's chunks."""

    def __init__(self, files: Mapping[str, FileEntry]) -> None:
        self._files = files
        self._names = sorted(files)
        self._firsts: list[int] = []
        total = 0
        for name in self._names:
            self._firsts.append(total)
            total += len(files[name].chunks)
        self.total = total
        """Chunks of all files together."""

    def chunks_of(self, name: str) -> range:
        """The numbers of a file's chunks."""
        first = self._firsts[self._names.index(name)]
        return range(first, first + len(self._files[name].chunks))

    def numbers_of(self, names: Iterable[str]) -> list[int]:
        """The numbers of the chunks of several files, in order."""
        return sorted(number for name in names for number in self.chunks_of(name))

    def place(self, number: int) -> ChunkPlace:
        """Where a chunk lies. Raises IndexError if there is no such chunk."""
        if not 0 <= number < self.total:
            raise IndexError(f"chunk {number} of {self.total}")
        at = bisect_right(self._firsts, number) - 1
        while number - self._firsts[at] >= len(self._files[self._names[at]].chunks):
            at -= 1  # an empty file shares its first number with the next file
        name = self._names[at]
        entry, index = self._files[name], number - self._firsts[at]
        offset = index * CHUNK_BYTES
        return ChunkPlace(name, offset, min(CHUNK_BYTES, entry.bytes - offset), entry.chunks[index])
