"""When a hop has become slower than it was. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

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
