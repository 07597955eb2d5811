"""What of a server's announced speed and room is believed before this client has measured it. Pure.

A record costs little, and its numbers are one server's own. So until a server was measured, it counts as
little faster than others are, and as having no more room than others have. "Others" are the servers that have
worked for this client if there are some, else those that announce themselves: the best quarter of them, so
that few boasters among many servers don't set the measure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from p2pinfer.types import LayerSeconds

_BENEFIT_OF_THE_DOUBT = 0.9
"""A server that says it is faster than others counts as at most this much of what they take: it is tried
before them."""

_EXPONENT = 0.05
_PLAUSIBLE_TIMES = 16.0
"""A server that says it is so much faster than all others has no benefit: it is drawn as they are."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What others reach, in one quantity of which less is better."""

    _known: Sequence[float] = ()  # sorted, of servers that have worked for this client
    _announced: Sequence[float] = ()  # sorted, of all

    @classmethod
    def of(cls, known: Iterable[float], announced: Iterable[float]) -> Measure:
        """Numbers that are 0 say nothing."""
        return cls(
            sorted(value for value in known if value > 0), sorted(value for value in announced if value > 0)
        )

    def believed(self, announced: float) -> float:
        """Return what is believed of a server that says this, and was never measured. 0 says nothing."""
        others = self._reached(announced)
        if others is None or not 0 < announced < others:
            return announced
        if announced * _PLAUSIBLE_TIMES < others:
            return others
        share: float = (announced / others) ** _EXPONENT
        return others * max(_BENEFIT_OF_THE_DOUBT, share)

    def _reached(self, announced: float) -> float | None:
        """What the best of the known servers reach, or the best quarter of all but this one."""
        if self._known:
            return self._known[min(1, (len(self._known) - 1) // 2)]
        others = len(self._announced) - 1
        if others < 1:
            return None
        place = (others - 1) // 4
        own = bisect_left(self._announced, announced)
        return self._announced[place + 1 if own <= place else place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What others reach in all that a record says of speed and room."""

    decode: Measure = field(default_factory=Measure)
    prefill: Measure = field(default_factory=Measure)
    most_room: int = 2**40  # tokens of free cache that others have

    def speed(self, decode: LayerSeconds, prefill: LayerSeconds) -> tuple[LayerSeconds, LayerSeconds]:
        """Return the lines that are believed of a server which announces these."""
        return _believed(decode, self.decode), _believed(prefill, self.prefill)

    def room(self, announced_tokens: int) -> int:
        """Return how much room counts when one of several servers is drawn."""
        return min(announced_tokens, self.most_room)


def most_room(announced_tokens: Sequence[int]) -> int:
    """What the median of all servers has, and a half more."""
    ordered = sorted(announced_tokens)
    return ordered[len(ordered) // 2] * 3 // 2 if ordered else 2**40


def _believed(line: LayerSeconds, measure: Measure) -> LayerSeconds:
    first = measure.believed(line.first)
    return line if first == line.first else LayerSeconds(first, line.per_1024)
