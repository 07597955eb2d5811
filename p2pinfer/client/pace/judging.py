"""Which hops of a route are much slower than was expected of them. Pure.

What a hop was expected to take comes from its own words, cut to what others reach, so a first step shows
whether they were true. A machine on which everything is slower than said, because it is busy, is no liar:
hops are compared with each other as well. A hop reports its own times, and may lie; the time that no hop
reports is the route's, and nobody can say whose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

STEPS = 3
"""One slow step is chance."""

_FACTOR = 4.0
_LEAST_SECONDS = 0.02
_UNREPORTED_LEAST_SECONDS = 0.1
_AT_ONCE_SECONDS = 1.0
_AT_ONCE_STEPS = 2

_OFTEN_STEPS = 12
_OFTEN_SECONDS = 0.25
"""A hop may be fast between slow steps: of so many, `STEPS` that take so much longer are no chance."""

_OFTEN_FACTOR = 2.0


class AtHop(NamedTuple):
    """Seconds of one decode step at one hop, as the hop reports them, and as was expected (0.0: unknown)."""

    queue: float
    compute: float
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """A hop that is much slower than expected, or one of several that may be."""

    hop: int
    seconds: float  # a decode step there, queue included: the shortest of the last ones
    is_queue: bool  # it says that others wait there
    is_reported: bool  # by itself; else the time that no hop reports may be another's


@dataclass(slots=True)
class RouteJudge:
    """The last decode steps through one list of hops."""

    _steps: deque[tuple[Sequence[AtHop], float]] = field(default_factory=lambda: deque(maxlen=_OFTEN_STEPS))

    def add(self, hops: Sequence[AtHop], *, seconds: float, way_seconds: float) -> None:
        """Note a step that took so long in all, of which the ways between hops explain `way_seconds`."""
        reported = sum(hop.queue + hop.compute for hop in hops)
        if reported > seconds:  # they can't have taken longer than the step, so somebody lies
            share = seconds / reported
            hops = [AtHop(hop.queue * share, hop.compute * share, hop.expected) for hop in hops]
        self._steps.append((hops, max(0.0, seconds - reported - way_seconds)))

    def slow(self) -> list[Slow]:
        """Return the hops that were slow in each of the last steps, or in several of some more; nobody before
        there are enough.

        Steps that take over a second are enough sooner. Where time is missing that no hop reports, every hop
        may be the one.
        """
        found = self._of_last(_AT_ONCE_STEPS, _AT_ONCE_SECONDS)
        return found or self._of_last(STEPS, 0.0) or self._often()

    def _of_last(self, count: int, least_seconds: float) -> list[Slow]:
        if len(self._steps) < count:
            return []
        steps = list(islice(self._steps, len(self._steps) - count, None))
        hops = range(len(steps[-1][0]))
        expected = [steps[-1][0][hop].expected for hop in hops]
        if not all(expected):
            return []
        least = [min(step[hop].queue + step[hop].compute for step, _ in steps) for hop in hops]
        unreported = min(missing for _, missing in steps)
        ratios = [seconds / usual for seconds, usual in zip(least, expected, strict=True)]
        found = [
            Slow(
                hop=hop,
                seconds=least[hop],
                is_queue=all(step[hop].queue > step[hop].compute for step, _ in steps),
                is_reported=True,
            )
            for hop in hops
            if ratios[hop] > _FACTOR * _of_others(ratios, hop)
            and least[hop] > max(least_seconds, expected[hop] + _LEAST_SECONDS)
        ]
        everywhere = sum(expected) * max(1.0, min(ratios))
        if not found and unreported > max(least_seconds, _UNREPORTED_LEAST_SECONDS, _FACTOR * everywhere):
            found = [
                Slow(hop=hop, seconds=least[hop] + unreported, is_queue=False, is_reported=False)
                for hop in hops
            ]
        return found

    def _often(self) -> list[Slow]:
        """The hops that were slow in some of the last steps, and so on the whole."""
        count = len(self._steps)
        slow_steps: dict[int, list[AtHop]] = {}
        unreported = 0
        for hops, missing in self._steps:
            if not all(hop.expected for hop in hops):
                return []
            ratios = [(hop.queue + hop.compute) / hop.expected for hop in hops]
            for place, hop in enumerate(hops):
                least = hop.expected * _FACTOR * _of_others(ratios, place)
                if hop.queue + hop.compute > max(least, hop.expected + _OFTEN_SECONDS):
                    slow_steps.setdefault(place, []).append(hop)
            everywhere = sum(hop.expected for hop in hops) * max(1.0, min(ratios))
            unreported += missing > max(_OFTEN_SECONDS, _FACTOR * everywhere)
        means = [
            sum(hops[place].queue + hops[place].compute for hops, _ in self._steps) / count
            for place in range(len(self._steps[-1][0]) if count else 0)
        ]
        found = [
            Slow(
                hop=place,
                seconds=means[place],
                is_queue=all(hop.queue > hop.compute for hop in slow),
                is_reported=True,
            )
            for place, slow in sorted(slow_steps.items())
            if len(slow) >= STEPS and means[place] > _OFTEN_FACTOR * slow[-1].expected
        ]
        if not found and unreported >= STEPS:
            missing = sum(one for _, one in self._steps) / count
            found = [
                Slow(hop=place, seconds=mean + missing, is_queue=False, is_reported=False)
                for place, mean in enumerate(means)
            ]
        return found


def _of_others(ratios: Sequence[float], hop: int) -> float:
    """How much slower than expected everything is here: as much as the best of the others."""
    return max(1.0, min((ratio for other, ratio in enumerate(ratios) if other != hop), default=1.0))
