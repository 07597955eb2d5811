"""When a step is overdue, and when a hop has become slow: decided from the steps before."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pinfer.wire.step_kind import StepKind

FIRST_SECONDS = 3.0
"""For steps of a kind that was never seen on this route."""

_SHORTEST_SECONDS = 0.5
_LONGEST_SECONDS = 10.0
_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4


@dataclass(slots=True)
class _Estimate:
    """Smoothed mean and deviation, as TCP keeps them of its round trips (RFC 6298)."""

    mean: float | None = None
    deviation: float = 0.0

    def add(self, value: float) -> None:
        if self.mean is None:
            self.mean, self.deviation = value, value / 2
            return
        self.deviation += _DEVIATION_GAIN * (abs(value - self.mean) - self.deviation)
        self.mean += _GAIN * (value - self.mean)

    def bound(self) -> float | None:
        """What a value rarely exceeds."""
        return None if self.mean is None else max(3 * self.mean, self.mean + 4 * self.deviation)


@dataclass(slots=True)
class StepTimes:
    """How long a route's steps take: those that a reader waits for, and apart from them pieces of prompts.

    To find a step overdue costs a question to every hop and harms nobody, so the bounds are tight: what
    is measured is who answers it, not how long the step took.
    """

    _urgent: _Estimate = field(default_factory=_Estimate)
    _prefill: _Estimate = field(default_factory=_Estimate)  # per token

    def add(self, kind: StepKind, *, tokens: int, seconds: float) -> None:
        """Note that a step of so many tokens was answered so long after it, or the one before, was sent."""
        if kind.is_urgent:
            self._urgent.add(seconds)
        else:
            self._prefill.add(seconds / tokens)

    def overdue_seconds(self, kind: StepKind, *, tokens: int) -> float:
        """How long to wait for an answer to this step before asking what became of it."""
        if kind.is_urgent:
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
class Pace:
    """What one token takes at a hop, waiting included: usually, and lately."""

    _first: list[float] = field(default_factory=list)
    _usual: float | None = None
    _lately: float = 0.0
    _slow_steps: int = 0

    def add(self, seconds: float) -> None:
        """Note a decode step. What is slow now doesn't change what is usual."""
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
        """What a step takes lately, if that has been several times what is usual for several steps."""
        return self._lately if self._slow_steps >= _SLOW_STEPS else None
