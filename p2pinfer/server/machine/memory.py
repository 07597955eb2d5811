"""How much memory this program can take."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_OWN_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_FALLBACK_MEMORY_BYTES = 2 << 30


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
