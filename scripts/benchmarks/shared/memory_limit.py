"""Limits the memory of processes by a control group of their own, where this system lets us make one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),  # version 1
    (Path("/sys/fs/cgroup"), "memory.max"),  # version 2
)


@contextlib.contextmanager
def memory_limit(megabytes: float) -> Iterator[tuple[str, ...] | None]:
    """Yields the words to put before a command, which then has so much memory; None where that can't be.

    The processes must have ended at the end of the block.
    """
    group = _made(megabytes)
    if group is None:
        yield None
        return
    try:
        yield ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"))
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def _made(megabytes: float) -> Path | None:
    for root, limit in _GROUPS:
        group = root / f"p2pinfer-{os.getpid()}"
        try:
            if not (root / "cgroup.procs").exists():
                continue
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(int(megabytes * 1e6)))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        return group
    return None
