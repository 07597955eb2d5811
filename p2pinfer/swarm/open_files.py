"""How many files and sockets this process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress


def allow_open_files(wanted: int) -> int:
    """Let this process open `wanted` files, as far as the system allows it; returns how many it may open.

    Many systems begin with 1,024 and allow far more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        higher = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # some systems have limits that they don't tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (higher, hard))
            soft = higher
    return wanted if soft == resource.RLIM_INFINITY else soft
