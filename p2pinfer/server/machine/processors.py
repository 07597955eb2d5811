"""How many processors this program can use."""

from __future__ import annotations

import os


def processors() -> int:
    """Processors that this process may run on: fewer than the machine has where its affinity is limited."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
