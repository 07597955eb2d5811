"""What the server asks of its operating system: memory, a thread, a key file of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from p2pinfer.errors import UsageError
from p2pinfer.identity import Identity

T = TypeVar("T")

_MAX_SERVERS_PER_MACHINE = 64
_OWN_CGROUP = Path("/proc/self/cgroup")
_FALLBACK_MEMORY_BYTES = 2 << 30


def available_memory_bytes(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that this program can still take: the machine's, or less in a container or a limited service."""
    return min([_machine_memory_bytes(), *_cgroup_memory_bytes(cgroups)])


def _cgroup_memory_bytes(cgroups: Path) -> Iterator[int]:
    """What is left of each limit that we are under (Linux, control groups version 2)."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = _OWN_CGROUP.read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        for group in (own, *map(str, Path(own).parents)):
            folder = cgroups / group.lstrip("/")
            with contextlib.suppress(OSError, ValueError):
                limit = int((folder / "memory.max").read_text())  # `max` where there is none
                used = int((folder / "memory.current").read_text())
                yield max(0, limit - used)


def _machine_memory_bytes() -> int:
    """As the kernel estimates it."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return _FALLBACK_MEMORY_BYTES


def processors() -> int:
    """How many this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def return_memory() -> None:
    """Give freed memory back to the kernel, where the C library can be asked to (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a thread that a cancelled or ending program does not wait for.

    asyncio.to_thread would hold up Ctrl-C until a model has been converted to its end.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = function()
        except BaseException as raised:  # noqa: BLE001  carried over to whoever awaits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await future


@contextlib.contextmanager
def owned_identity(path: Path | None, data_folder: Path) -> Iterator[Identity]:
    """Load (or make) the key file at `path`.

    Without a path the first free one of server-1.key, server-2.key, ... in the data folder is
    taken, so that every server of a machine keeps an identity of its own across restarts.
    """
    if path is not None:
        yield Identity.load_or_create(path)
        return
    for number in range(1, _MAX_SERVERS_PER_MACHINE + 1):
        slot = data_folder / f"server-{number}.slot"
        try:
            data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = slot.open("w")
        except OSError as error:
            raise UsageError(f"{slot} can't be written ({error.strerror}): give --identity FILE") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield Identity.load_or_create(slot.with_suffix(".key"))
            return
    raise UsageError(
        f"{_MAX_SERVERS_PER_MACHINE} servers use the identities in {data_folder} already: "
        "give --identity FILE"
    )
