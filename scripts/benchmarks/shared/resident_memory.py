"""How much memory a process holds, in megabytes."""

from __future__ import annotations

import psutil


def megabytes(pid: int) -> float:
    """The resident memory of one process."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def children_megabytes(pid: int) -> float:
    """The resident memory of all child processes of a process: for a server or client, that is its p2pd."""
    return sum(megabytes(child.pid) for child in psutil.Process(pid).children(recursive=True))
