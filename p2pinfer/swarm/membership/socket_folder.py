"""The folder for this process's sockets: private, locked while the process lives, and removed at its end.

The folder of a process that was killed is removed by the next process that starts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_UNIX_PATH = 100  # the kernel's limit is 107 bytes on Linux, 103 on macOS
_LONGEST_NAME = "/p2pd-12345678/p2pclient-12345678901.sock"
_PREFIX = "p2pinfer-swarm-"
_ABANDONED_SECONDS = 60.0  # a younger folder may not be locked yet


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder, mode 0700, with a path short enough for sockets; removed at the end of the block."""
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    if len(str(folder)) + len(_LONGEST_NAME) > _LONGEST_UNIX_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
    lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def named(connecting: socket.socket, path: str) -> Iterator[None]:
    """Give a unix socket a name while it connects. The other side remembers it; the file isn't needed."""
    connecting.bind(path)
    try:
        yield
    finally:
        os.unlink(path)


def _lock(folder: Path) -> int | None:
    """Lock `folder` for this process, and return the descriptor that holds it; None if it is locked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_abandoned() -> None:
    """Remove the folders of processes that were killed: they aren't locked any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            state = folder.lstat()
            if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
                continue
            if time.time() - state.st_mtime < _ABANDONED_SECONDS or (lock := _lock(folder)) is None:
                continue
        except OSError:  # it was removed meanwhile
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
