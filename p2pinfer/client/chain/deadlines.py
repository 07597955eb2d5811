"""When a step is overdue: decided from earlier steps, and before there are any from expectations. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pinfer.wire.step_kind import StepKind

FIRST_SECONDS = 3.0
"""For the first step of its kind on a route, at most."""

_FIRST_FACTOR = 4.0
_LATER_FACTOR = 8.0
"""However slow earlier steps were, the hops are asked after so many times what was expected of them."""

_SHORTEST_SECONDS = 0.5
_LONGEST_SECONDS = 10.0
_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4


@dataclass(slots=True)
class _Estimate:
    """Smoothed mean and deviation, as TCP keeps them for its round trips (RFC 6298)."""

    mean: float | None = None
    deviation: float = 0.0

    def add(self, value: float) -> None:
        if self.mean is None:
            self.mean, self.deviation = value, value / 2
            return
        self.deviation += _DEVIATION_GAIN * (abs(value - self.mean) - self.deviation)
        self.mean += _GAIN * (value - self.mean)

    def bound(self) -> float | None:
        """Return a bound that values rarely exceed; None before the first value."""
        return None if self.mean is None else max(3 * self.mean, self.mean + 4 * self.deviation)


@dataclass(slots=True)
class StepTimes:
    """How long a route's steps take: urgent steps, which a reader waits for, apart from pieces of prompts.

    The bounds are tight, because overdue is not failed: the client only asks every hop how far it is, and
    judges the hops by their answers.
    """

    _urgent: _Estimate = field(default_factory=_Estimate)
    _prefill: _Estimate = field(default_factory=_Estimate)  # per token

    def add(self, kind: StepKind, *, tokens: int, seconds: float) -> None:
        """Note how long a step took: from its sending, or from the answer before it if that came later.

        A step that brings no hidden states says nothing about the others.
        """
        if not kind.brings_hidden:
            return
        if kind.is_urgent:
            self._urgent.add(seconds)
        else:
            self._prefill.add(seconds / tokens)

    def overdue_seconds(self, kind: StepKind, *, tokens: int, expected_seconds: float = 0.0) -> float:
        """Return how long to wait for the answer to a step before asking the hops about it.

        `expected_seconds` is what such a step was expected to take when the route was chosen; 0.0: unknown.
        """
        if not kind.brings_hidden:
            bound = None
        elif kind.is_urgent:
            bound = self._urgent.bound()
        else:
            per_token = self._prefill.bound()
            bound = None if per_token is None else per_token * tokens
        if bound is None:
            bound, most = _FIRST_FACTOR * expected_seconds or FIRST_SECONDS, FIRST_SECONDS
        else:
            expectable = _LATER_FACTOR * expected_seconds or _LONGEST_SECONDS
            most = min(_LONGEST_SECONDS, max(FIRST_SECONDS, expectable))
        return min(max(bound, _SHORTEST_SECONDS), most)

    def usual_seconds(self, kind: StepKind, *, tokens: int) -> float:
        """Return what such a step usually takes; 0.0 before the first one."""
        if kind.is_urgent:
            return self._urgent.mean or 0.0
        return (self._prefill.mean or 0.0) * tokens
