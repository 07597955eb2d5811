"""Says how many bytes came from the hub, and how fast: a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

_LINE_SECONDS = 10.0


class ReceivedLines:
    """Counts what it is told, and passes a line to `progress` every ten seconds."""

    def __init__(self, progress: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.total_bytes = 0
        self._progress = progress
        self._clock = clock
        self._said_at = clock()
        self._said_bytes = 0

    def add(self, count: int) -> None:
        """So many bytes have come."""
        self.total_bytes += count
        seconds = self._clock() - self._said_at
        if seconds < _LINE_SECONDS:
            return
        rate = (self.total_bytes - self._said_bytes) / seconds
        self._said_at, self._said_bytes = self._said_at + seconds, self.total_bytes
        self._progress(f"received {self.total_bytes / 1e6:,.0f} MB from the hub, {rate / 1e6:.1f} MB/s")
