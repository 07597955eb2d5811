"""A rate in bytes per second, for all sends together (a token bucket). Pure: the caller says the time."""

from __future__ import annotations

BURST_SECONDS = 0.05
"""Unused time counts for as much later: sleeping for less than that isn't exact."""


class TokenBucket:
    """In any time t, at most t x rate + burst bytes are taken. The rate may change with every call."""

    def __init__(self, *, least_burst_bytes: int, now: float) -> None:
        """`least_burst_bytes` is the largest size that is taken at once, or more."""
        self._least_burst_bytes = least_burst_bytes
        self._tokens = float(least_burst_bytes)
        self._at = now

    def take(self, size_bytes: int, bytes_per_second: float, now: float) -> float:
        """Take the bytes, and return 0.0; or take nothing, and return the seconds until they can be taken.

        `now` doesn't go back. The time since the last call counts at the present rate.
        """
        burst = max(self._least_burst_bytes, bytes_per_second * BURST_SECONDS)
        self._tokens = min(burst, self._tokens + max(0.0, now - self._at) * bytes_per_second)
        self._at = now
        missing = size_bytes - self._tokens
        if missing > 0:
            # A clock of floats may stand still for less than that: the caller would wait for ever.
            return max(missing / bytes_per_second, 1e-6)
        self._tokens -= size_bytes
        return 0.0
