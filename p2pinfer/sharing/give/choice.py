"""Which of the wanted chunks a peer gets: the one that was sent least often. Pure.

Ten peers that want the same from one slow sender so get ten different chunks, and give them to each other;
the sender's line carries each chunk once, not ten times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from p2pinfer.backoff import Chance
from p2pinfer.sharing.bitmaps import Mask


class Choice:
    """Counts how often each chunk was sent, or is being sent."""

    def __init__(self, total: int, chance: Chance) -> None:
        self.times_sent = np.zeros(total, dtype=np.uint32)
        """[chunks of the model]"""
        self._chance = chance

    def pick(self, candidates: Mask) -> int | None:
        """One of the candidates that were sent least often; any of those. None if there is none."""
        numbers = np.flatnonzero(candidates)
        if not len(numbers):
            return None
        times = self.times_sent[numbers]
        rarest = numbers[times == times.min()]
        return int(rarest[int(self._chance() * len(rarest))])

    @contextmanager
    def sending(self, number: int) -> Iterator[None]:
        """Count a chunk as sent, unless the block fails."""
        self.times_sent[number] += 1
        try:
            yield
        except BaseException:
            self.times_sent[number] -= 1
            raise
