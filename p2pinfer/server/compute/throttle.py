"""The duty cycle of the computing thread: the fraction of time that it may run batches.

It is a bucket of computing seconds. The bucket fills at `duty` seconds per second, and a batch empties it by
the seconds that the batch took. The next batch may start while the bucket isn't below empty. So a pause of
t * (1 / duty - 1) follows a batch of t seconds. However batches come, in any stretch of time they take no
more than their duty of it, a full bucket, and one batch. Pauses are for batches only: lanes are read and
questions answered meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable

BURST_SECONDS = 0.05
"""What a full bucket holds. It is enough for steps of a few sessions that come close together, and to make up
for `select`, which oversleeps by a millisecond. It is too little to be heard or felt."""


def duty_for_share(share: float, *, processors: int, threads: int) -> float:
    """Return the duty with which an engine of `threads` threads uses this share of the machine's processors.

    >>> duty_for_share(0.25, processors=8, threads=4)
    0.5
    """
    return min(1.0, share * processors / threads)


class Throttle:
    """Keeps a duty cycle. One thread uses it."""

    def __init__(
        self,
        duty: float = 1.0,
        *,
        burst_seconds: float = BURST_SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Raises ValueError unless 0 < duty <= 1."""
        self._duty = checked_duty(duty)
        self._burst_seconds = burst_seconds
        self._clock = clock
        self._filled_at = clock()
        self._seconds = burst_seconds  # in the bucket; below 0 after a batch
        self.busy_seconds: float = 0
        """How long batches have run so far. Any thread may read it."""

    @property
    def duty(self) -> float:
        """The fraction of time that batches may take: above 0, at most 1."""
        return self._duty

    def set_duty(self, duty: float) -> None:
        """Fill the bucket at another rate from now on. What is overdrawn stays overdrawn.

        Raises ValueError unless 0 < duty <= 1.
        """
        checked_duty(duty)
        self._fill()
        self._duty = duty

    def pause_seconds(self) -> float:
        """Return for how many seconds no batch may start. 0: one may start now."""
        self._fill()
        return 0 if self._seconds >= 0 else -self._seconds / self._duty

    def run(self, batch: Callable[[], None]) -> None:
        """Run a batch, and take the time that it took from the bucket."""
        self._fill()
        batch()
        now = self._clock()
        seconds = now - self._filled_at
        self._seconds -= seconds * (1 - self._duty)
        self._filled_at = now
        self.busy_seconds += seconds

    def _fill(self) -> None:
        now = self._clock()
        filled = self._seconds + (now - self._filled_at) * self._duty
        self._seconds = min(self._burst_seconds, filled)
        self._filled_at = now


def checked_duty(duty: float) -> float:
    """Return the duty. Raises ValueError unless it is above 0 and at most 1."""
    if not 0 < duty <= 1:
        raise ValueError(f"a duty is above 0 and at most 1, not {duty}")
    return duty
