"""One file of a store on its way: NAME.part beside its place, sparse, locked by whoever fetches it.

There is no journal. The chunks that a part file holds are found by their hashes when it is opened, so it is
right after a kill or a power cut as well. The lock is the kernel's (flock), and ends with its process.
Everything here blocks: it belongs on a thread.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from p2pinfer.model.layer_store.chunks import CHUNK_BYTES, FileEntry

_READ_BYTES = 4 * CHUNK_BYTES


class Stopped(Exception):  # noqa: N818  no error: its reader has asked for it
    """Long work was stopped half-way, because nobody waits for it any more."""


def part_path(folder: Path, name: str) -> Path:
    """Where a file lies while it is fetched."""
    return folder / f"{name}.part"


class PartFile:
    """An open part file, with its lock. Made by `open_part`; close it."""

    def __init__(self, path: Path, target: Path, entry: FileEntry, descriptor: int) -> None:
        self._path = path
        self._target = target
        self._entry = entry
        self._descriptor = descriptor

    @property
    def is_open(self) -> bool:
        """True until it is closed."""
        return self._descriptor >= 0

    def good_chunks(self, stopped: Callable[[], bool] = lambda: False) -> list[int]:
        """The indexes of the chunks that are here, compared with their hashes. Raises Stopped."""
        good = []
        at = 0
        while (at := self._next_data(at)) < self._entry.bytes:
            if stopped():
                raise Stopped
            index = at // CHUNK_BYTES
            data = os.pread(self._descriptor, CHUNK_BYTES, index * CHUNK_BYTES)
            if hashlib.sha256(data).hexdigest() == self._entry.chunks[index]:
                good.append(index)
            at = (index + 1) * CHUNK_BYTES
        return good

    def write(self, index: int, data: bytes) -> None:
        """Write a chunk that has been verified. Raises OSError, for instance if the disk is full."""
        view, at = memoryview(data), index * CHUNK_BYTES
        while view:
            written = os.pwrite(self._descriptor, view, at)
            view, at = view[written:], at + written

    def finish(self, stopped: Callable[[], bool] = lambda: False) -> bool:
        """If the whole file has the manifest's SHA-256, sync it and give it its name; else return False.

        Raises OSError, and Stopped.
        """
        digest, at = hashlib.sha256(), 0
        while at < self._entry.bytes:
            if stopped():
                raise Stopped
            data = os.pread(self._descriptor, min(_READ_BYTES, self._entry.bytes - at), at)
            if not data:
                return False
            digest.update(data)
            at += len(data)
        if digest.hexdigest() != self._entry.sha256:
            return False
        os.fsync(self._descriptor)
        os.replace(self._path, self._target)
        _sync_folder(self._target.parent)
        return True

    def discard(self) -> None:
        """Remove the part file: the file came another way."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the lock. What has come stays. Closing twice is harmless."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _next_data(self, at: int) -> int:
        """Where bytes have been written, from `at` on; the end of the file if nowhere."""
        try:
            return os.lseek(self._descriptor, at, os.SEEK_DATA)
        except OSError as error:
            # Beyond the last data, or a file system that doesn't tell: then every chunk is hashed.
            return self._entry.bytes if error.errno == errno.ENXIO else at


def open_part(folder: Path, name: str, entry: FileEntry) -> PartFile | None:
    """Open or make the part file of a file, and lock it. None: somebody else is fetching it.

    Raises OSError.
    """
    path = part_path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had the lock before may have finished: then ours is on a file with another name.
            if _is_at(descriptor, path):
                if os.fstat(descriptor).st_size != entry.bytes:
                    os.ftruncate(descriptor, entry.bytes)
                return PartFile(path, folder / name, entry, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def changed_at(folder: Path, name: str) -> float:
    """When a part file was written last, in Unix seconds; 0.0 if there is none."""
    try:
        return part_path(folder, name).stat().st_mtime
    except OSError:
        return 0.0


def bytes_on_disk(folder: Path, name: str) -> int:
    """What a part file takes on disk: about the bytes that have come, whether they are right or not."""
    try:
        return part_path(folder, name).stat().st_blocks * 512
    except OSError:
        return 0


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems refuse; the file itself is safe
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
