"""How fast something goes on, from how much was done when. Pure: the caller has the clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_WINDOW_SECONDS = 8.0
_SAMPLE_SECONDS = 0.25
_STALLED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known about the speed now."""

    per_second: float | None  # None: it began just now, nobody knows
    stalled_seconds: float | None = None  # how long nothing came; None: something comes


class RateMeter:
    """The mean rate of the last seconds. What was there at the beginning doesn't count as fast work."""

    def __init__(self, done: int, at: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(at, done)])
        self._done = done
        self._last_change_at = at

    def update(self, done: int, at: float) -> None:
        """Note that `done` is done at `at` seconds of a clock that never goes back."""
        if done != self._done:
            self._last_change_at = at
        if done < self._done:  # it began anew: what was before says nothing
            self._samples.clear()
            self._samples.append((at, done))
        self._done = done
        if at - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((at, done))
        while len(self._samples) > 2 and at - self._samples[1][0] >= _WINDOW_SECONDS:
            self._samples.popleft()

    def pace(self, at: float) -> Pace:
        """The rate of the last eight seconds, or for how long nothing has come."""
        if at - self._last_change_at >= _STALLED_SECONDS:
            return Pace(0.0, at - self._last_change_at)
        began_at, before = self._samples[0]
        passed = at - began_at
        return Pace((self._done - before) / passed if passed >= 2 * _SAMPLE_SECONDS else None)
