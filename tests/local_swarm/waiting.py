"""Waiting for processes that tests start."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil


def soon() -> float:
    """A deadline that a loaded machine meets too."""
    return time.monotonic() + 30


def ended(pid: int) -> bool:
    """True once the process is gone, or is only waiting to be reaped."""
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        psutil.Process(pid).wait(30)
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
