"""What processes cost while they are idle."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psutil


def idle_shares(pids: Mapping[str, int], seconds: float) -> dict[str, dict[str, float]]:
    """Watch processes for a while; return by name the share of a core of each process and of its children.

    The children of a server or client are its libp2p daemon, p2pd.
    """
    before = {name: _cpu_seconds(pid) for name, pid in pids.items()}
    began = time.monotonic()
    time.sleep(seconds)
    after = {name: _cpu_seconds(pid) for name, pid in pids.items()}
    elapsed = time.monotonic() - began
    return {
        name: {
            "own": (after[name][0] - before[name][0]) / elapsed,
            "children": (after[name][1] - before[name][1]) / elapsed,
        }
        for name in pids
    }


def _cpu_seconds(pid: int) -> tuple[float, float]:
    process = psutil.Process(pid)
    return _user_and_system(process), sum(map(_user_and_system, process.children(recursive=True)))


def _user_and_system(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def busy_cores(seconds: float) -> float:
    """How many cores of the whole machine are busy at the moment."""
    return float(psutil.cpu_percent(seconds)) / 100 * (psutil.cpu_count() or 1)
