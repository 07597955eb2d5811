"""What a client wants of a route: each token soon, or many tokens in all."""

from __future__ import annotations

from enum import Enum

_ROWS_OF_MANY = 32
"""As many rows as a server that is busy computes at once, about: then a token costs little more than its own
part of the work, and ways between servers are hidden behind the work on other rows."""


class Aim(Enum):
    """How routes are chosen. The values are those of from_pretrained's `routing`."""

    LATENCY = "latency"  # the answers of this session soon
    THROUGHPUT = "throughput"  # many tokens per second, in all sessions of this client together

    def rows_under_way(self, rows: int) -> int:
        """How many rows share the ways and a server's batches, for a session of `rows`."""
        return rows if self is Aim.LATENCY else max(rows, _ROWS_OF_MANY)
