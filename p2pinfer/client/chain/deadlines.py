"""When a step is overdue, and when a hop has become slow: decided from earlier steps. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pinfer.wire.step_kind import StepKind

FIRST_SECONDS = 3.0
"""For the first step of its kind on a route."""

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

    def overdue_seconds(self, kind: StepKind, *, tokens: int) -> float:
        """Return how long to wait for the answer to a step before asking the hops about it."""
        if not kind.brings_hidden:
            bound = None
        elif kind.is_urgent:
            bound = self._urgent.bound()
        else:
            per_token = self._prefill.bound()
            bound = None if per_token is None else per_token * tokens
        return FIRST_SECONDS if bound is None else min(max(bound, _SHORTEST_SECONDS), _LONGEST_SECONDS)


_SLOW_FACTOR = 3.0
_SLOW_SECONDS = 0.005
_SLOW_STEPS = 8
_USUAL_STEPS = 8
_USUAL_GAIN = 1 / 32


@dataclass(slots=True)
class HopPace:
    """Seconds per token at a hop, its queue included: usually, and lately."""

    _first: list[float] = field(default_factory=list)
    _usual: float | None = None
    _lately: float = 0.0
    _slow_steps: int = 0
    latest: float | None = None
    """Smoothed over about eight steps, whatever they were; None before the first."""

    def add(self, seconds: float) -> None:
        """Note a decode step. A slow step does not change what is usual."""
        self.latest = seconds if self.latest is None else self.latest + (seconds - self.latest) / 8
        if self._usual is None:
            self._first.append(seconds)
            if len(self._first) == _USUAL_STEPS:
                self._usual = sorted(self._first)[_USUAL_STEPS // 2]
            return
        if seconds > max(_SLOW_FACTOR * self._usual, self._usual + _SLOW_SECONDS):
            self._slow_steps += 1
            self._lately = seconds if self._slow_steps == 1 else self._lately + (seconds - self._lately) / 4
        else:
            self._slow_steps = 0
            self._usual += _USUAL_GAIN * (seconds - self._usual)

    @property
    def slow_seconds(self) -> float | None:
        """Seconds per step lately, if the last eight were several times slower than usual; else None."""
        return self._lately if self._slow_steps >= _SLOW_STEPS else None
