"""Says that a program uses a store: by a lock that ends with the program, and by a mark of when it was.

Nobody removes a store in use. The lock is on the file `.used` in the store's folder, whose time is the mark.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from p2pinfer.errors import StoreError

USED_FILE = ".used"
STORES_FOLDER = "stores"
"""Within the cache folder: the stores that were fetched from peers, each in a folder that its hash names."""

_WAIT_SECONDS = 5.0  # whoever removes a store holds its lock for some milliseconds
_LOOK_SECONDS = 0.02
_CAREFULLY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # no link, and no pipe that nobody writes to


@contextlib.contextmanager
def using(cache_folder: Path, folder: Path) -> Iterator[None]:
    """Keep a store in the cache folder from being removed for as long as the block lasts.

    A store elsewhere is its owner's matter: nothing is done to it. The same holds for a cache that can't be
    written, as nothing can be removed from it. Raises StoreError if another program removes the store now.
    """
    if not is_shelved(cache_folder, folder):
        yield
        return
    lock = _shared_lock(folder)
    try:
        yield
    finally:
        if lock is not None:
            with contextlib.suppress(OSError):
                os.utime(lock)
            os.close(lock)


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Keep others from using a store; True if nobody uses it. Never raises, never waits."""
    try:
        lock = os.open(folder / USED_FILE, os.O_RDWR | os.O_CREAT | _CAREFULLY, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        yield free
    finally:
        os.close(lock)


def is_used(folder: Path) -> bool:
    """True if a program uses the store now. Leaves no trace."""
    try:
        lock = os.open(folder / USED_FILE, os.O_RDONLY | _CAREFULLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def last_used(folder: Path) -> float:
    """When it was last used, in Unix seconds; without a mark, when its folder last changed. 0.0: unknown."""
    for path in (folder / USED_FILE, folder):
        with contextlib.suppress(OSError):
            return path.lstat().st_mtime
    return 0.0


def is_shelved(cache_folder: Path, folder: Path) -> bool:
    """True if a folder lies where the cache's stores do, and not only by way of a symbolic link."""
    try:
        cache, real = cache_folder.resolve(), folder.parent.resolve() / folder.name
    except (OSError, RuntimeError):
        return False
    return real.parent in (cache, cache / STORES_FOLDER) and real.is_dir() and not real.is_symlink()


def _shared_lock(folder: Path) -> int | None:
    """The lock; None if the folder can't be written. It is of the file that is there when it is held."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            lock = os.open(folder / USED_FILE, os.O_RDWR | os.O_CREAT | _CAREFULLY, 0o600)
        except FileNotFoundError as error:
            raise StoreError(
                f"{folder} is gone: another program made room for itself; start again"
            ) from error
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), (folder / USED_FILE).lstat()):
                os.utime(lock)
                return lock
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(lock)
                raise StoreError(f"{folder} is being removed by another program: start again") from None
        except FileNotFoundError:
            pass  # removed between both: the next try says so
        except OSError:
            os.close(lock)
            return None  # a file system without locks
        os.close(lock)
        time.sleep(_LOOK_SECONDS)
