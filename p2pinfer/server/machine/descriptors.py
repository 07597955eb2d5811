"""How many files and sockets this process may have open, and for how many connections that is enough."""

from __future__ import annotations

from p2pinfer.swarm.open_files import allow_open_files

PER_CONNECTION = 3
"""The connection itself, and both ends of the way from the door to gRPC."""
OTHERS = 3072
"""Lanes of 512 sessions, 256 circuits of a relay, the DHT, files of the model, libraries."""


def raise_limit(connections: int) -> int:
    """Let this process open what so many connections need, as far as the system allows it.

    Returns the limit that holds now.
    """
    return allow_open_files(connections * PER_CONNECTION + OTHERS)


def enough_for(limit: int) -> int:
    """Return for how many connections a process has room that may open `limit` files.

    Where the limit is low they get half of it.

    >>> [enough_for(limit) for limit in (1024, 4096, 5120)]
    [170, 682, 853]
    """
    return max(limit - OTHERS, limit // 2) // PER_CONNECTION
