"""Notes when each token of one generation came."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any


class Clock:
    """Starts when it is made; a contender calls `tick` when every sequence has its next token."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.ticks: list[float] = []

    def tick(self) -> None:
        """Note that every sequence has a new token."""
        self.ticks.append(time.perf_counter())

    def answer(self, rows: Sequence[list[int]]) -> dict[str, Any]:
        """The new tokens of each sequence, and the seconds they took."""
        return {
            "tokens": list(rows),
            "seconds": self.ticks[-1] - self.started,
            "first_seconds": self.ticks[0] - self.started,
            "later_seconds": self.ticks[-1] - self.ticks[0],
        }
