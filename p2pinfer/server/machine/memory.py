"""How much memory this program can take, and how it gives back what it needs no longer."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

_OWN_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_FALLBACK_MEMORY_BYTES = 2 << 30
GIVE_BACK_SECONDS = 10.0


def available_memory_bytes(*, cgroups: Path = _CGROUPS, own_cgroup: Path = _OWN_CGROUP) -> int:
    """Memory that this program can still take: what the machine has left, or less in a limited service.

    Containers and services are limited by control groups (Linux, version 2); `cgroups` is the root of their
    tree, and the file `own_cgroup` names the group of this process.
    """
    return min([_machine_memory_bytes(), *_cgroup_memory_bytes(cgroups, own_cgroup)])


def _cgroup_memory_bytes(cgroups: Path, own_cgroup: Path) -> Iterator[int]:
    """What is left of each limit: of our own group and of each group above it."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = own_cgroup.read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        for group in (own, *map(str, Path(own).parents)):
            folder = cgroups / group.lstrip("/")
            with contextlib.suppress(OSError, ValueError):
                limit = int((folder / "memory.max").read_text())  # `max` without a limit: a ValueError
                used = int((folder / "memory.current").read_text())
                yield max(0, limit - used)


def _machine_memory_bytes() -> int:
    """The kernel's own estimate; without one, half of the memory that is built in."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return _FALLBACK_MEMORY_BYTES


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library is glibc.

    glibc itself keeps it: 300 MB that 512 half frames took were still there a minute after their lanes had
    been closed. It raises its threshold for memory that is given back at once (M_MMAP_THRESHOLD) whenever a
    large piece is freed, and what is below is given back only from the end of a heap.
    """
    with contextlib.suppress(OSError, AttributeError):  # another system, or another C library
        ctypes.CDLL(None).malloc_trim(0)


async def give_back_forever() -> NoReturn:
    """Give freed memory back every few seconds, in a thread. Takes a few milliseconds."""
    while True:
        await asyncio.sleep(GIVE_BACK_SECONDS)
        await asyncio.to_thread(give_back)
