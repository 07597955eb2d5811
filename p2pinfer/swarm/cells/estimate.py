"""How many servers a tree has, from what a reader saw. Pure: ranks in, a number and its range out.

A key with fewer than CAPACITY records has everybody who belongs there: they are counted. Where others were
found in smaller cells, its keepers hide something, and there is no bound above. A full key keeps its
elders and the best ranks of the others. A rank is a number in [0, 1) that is drawn evenly, so the k best of
all servers say how many there are (k minimum values: Bar-Yossef et al. 2002; Beyer et al. 2007). Elders,
which stay whatever their rank, don't disturb that: those with a good rank are among the k best, as they
would be anyway.

Liars: a rank follows from a proof that cost a few seconds of a core, so whoever pays for m identities moves
the estimate by m servers, announced or not: to double it costs as much as all servers have paid. Whoever
withholds records moves nothing while one keeper of either key answers honestly. Sizes of small cells aren't
multiplied by their number: keys that are ground into one cell would count four times for each digit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from p2pinfer.swarm.cells.climb import CAPACITY

RANKS = 48
"""So many of the best ranks are used. A full key keeps 64: the rest may have been good an hour ago."""
UPCOMING_SHARE = 0.1
"""Of the servers may be on their way up to the largest cell."""
LATE_SHARE = 0.1
"""Of the best ranks: theirs are new, and they haven't asked for their place yet (TRY_AGAIN_SECONDS)."""
WRONG_SHARE = 0.05
"""Of the ranges don't contain the true number."""

_MOST = 10**12
_LEAST_RANK = 2.0**-53


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many servers are announced. The range has the true number in 95 of 100 cases."""

    about: int
    least: int
    most: int | None  # None: not known

    @property
    def is_counted(self) -> bool:
        """True if it is exact."""
        return self.least == self.most


def size_of(root_ranks: Collection[float], seen: int) -> Size:
    """The size of a tree whose largest cell has records of these ranks.

    `seen` servers were found in all cells that were read: there are as many at least.
    """
    if len(root_ranks) < CAPACITY:
        is_hidden = seen * (1.0 - UPCOMING_SHARE) > len(root_ranks)
        return Size(about=seen, least=seen, most=None if is_hidden else seen)
    worst = max(_LEAST_RANK, sorted(root_ranks)[RANKS - 1])
    about = min(_MOST, max(seen, round((RANKS - 1) / worst)))
    least = _first(lambda servers: 1.0 - _fewer_than_ranks(servers, worst) >= WRONG_SHARE / 2)
    most = _first(lambda servers: _fewer_than_ranks(servers, worst) < WRONG_SHARE / 2)
    return Size(
        about=about,
        least=max(seen, min(about, least)),
        most=max(about, min(_MOST, math.ceil(most / (1.0 - LATE_SHARE)))),
    )


def _fewer_than_ranks(servers: int, worst: float) -> float:
    """The probability that fewer than RANKS of so many servers draw a rank below `worst`."""
    if worst >= 1.0:
        return float(servers < RANKS)
    probability = total = math.exp(servers * math.log1p(-worst))
    for drawn in range(RANKS - 1):
        probability *= (servers - drawn) / (drawn + 1) * worst / (1.0 - worst)
        total += probability
    return min(1.0, total)


def _first(holds: Callable[[int], bool]) -> int:
    """The smallest number of servers for which it holds; it holds for all larger ones."""
    low, high = RANKS, 2 * RANKS
    while high < _MOST and not holds(high):
        high *= 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
