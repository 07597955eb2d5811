"""How long to wait before something is tried again. Pure: chance comes from the caller.

Exponential backoff with full jitter: after n failures the wait is anywhere between nothing and
min(most, first * 2^(n-1)). Many peers that lose the same server then come back spread out, not all at once.
Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

Chance = Callable[[], float]
"""Draws a number from [0, 1)."""

_MOST_DOUBLINGS = 64  # beyond that 2.0**n only overflows
_SPREAD = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The waits between tries, in seconds."""

    first_seconds: float
    most_seconds: float

    def longest_seconds(self, failures: int) -> float:
        """The upper bound of the wait after this number of failures in a row (1: the first).

        >>> [Backoff(first_seconds=0.5, most_seconds=30.0).longest_seconds(n) for n in (1, 2, 3, 7, 9999)]
        [0.5, 1.0, 2.0, 30.0, 30.0]
        """
        doublings = min(max(failures, 1) - 1, _MOST_DOUBLINGS)
        return min(self.most_seconds, self.first_seconds * 2.0**doublings)

    def seconds(self, failures: int, chance: Chance = random.random) -> float:
        """The wait after this number of failures in a row (1: the first).

        >>> Backoff(first_seconds=2.0, most_seconds=30.0).seconds(2, chance=lambda: 0.25)
        1.0
        """
        return chance() * self.longest_seconds(failures)


def jittered(seconds: float, chance: Chance = random.random) -> float:
    """A period, up to a fifth shorter or longer: what many do regularly isn't done at the same moment.

    >>> jittered(15.0, chance=lambda: 0.5)
    15.0
    """
    return seconds * (1.0 - _SPREAD + 2.0 * _SPREAD * chance())
