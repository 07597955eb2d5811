"""How much memory a process holds, in megabytes."""

from __future__ import annotations

from pathlib import Path

import psutil


def megabytes(pid: int) -> float:
    """The resident memory of one process."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def children_megabytes(pid: int) -> float:
    """The resident memory of all child processes of a process: for a server or client, that is its p2pd."""
    return sum(megabytes(child.pid) for child in psutil.Process(pid).children(recursive=True))


def peak_megabytes(pid: int) -> float:
    """The most resident memory that one process has had. Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"process {pid} has ended")


def children_peak_megabytes(pid: int) -> float:
    """The most resident memory that each child process of a process has had, added up."""
    return sum(peak_megabytes(child.pid) for child in psutil.Process(pid).children(recursive=True))
