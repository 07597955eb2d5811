"""How many files and sockets this process may have open, and for how many connections that is enough."""

from __future__ import annotations

import resource
from contextlib import suppress

PER_CONNECTION = 3
"""The connection itself, and both ends of the way from the door to gRPC."""
OTHERS = 2048
"""Lanes of 512 sessions, the DHT, files of the model, libraries."""


def raise_limit(connections: int) -> int:
    """Let this process open what so many connections need, as far as the system allows it.

    Many systems begin with 1,024 and allow far more. Returns the limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections * PER_CONNECTION + OTHERS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        higher = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # some systems have limits that they don't tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (higher, hard))
            soft = higher
    return wanted if soft == resource.RLIM_INFINITY else soft


def enough_for(limit: int) -> int:
    """Return for how many connections a process has room that may open `limit` files.

    Where the limit is low they get half of it.

    >>> [enough_for(limit) for limit in (1024, 4096, 5120)]
    [170, 682, 1024]
    """
    return max(limit - OTHERS, limit // 2) // PER_CONNECTION
