"""How often somebody may ask for something. Pure: the caller has the clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

_MOST_KEYS = 4096


class Quota:
    """At most `most` uses a minute for each key; 4,096 keys at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used: dict[Hashable, deque[float]] = {}

    def use(self, key: Hashable, now: float) -> bool:
        """Count a use, and return True; False if the key has used its quota, or too many keys are in use."""
        times = self._used.get(key)
        if times is None:
            if len(self._used) >= _MOST_KEYS:
                self._forget(now)
            if len(self._used) >= _MOST_KEYS:
                return False
            times = self._used[key] = deque(maxlen=self._most)
        if len(times) == self._most and now - times[0] < 60.0:
            return False
        times.append(now)
        return True

    def _forget(self, now: float) -> None:
        self._used = {key: times for key, times in self._used.items() if now - times[-1] < 60.0}
