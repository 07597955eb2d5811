"""How much a hop may say on its call. Pure.

What it says of work is bounded by the work: it catches up with a history once, and receipts are due for what
was asked of it. All else is said rarely. A hop that talks on costs its client a task switch a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_FRAMES = 256
"""Frames that bring nothing new about work, at once."""

FRAMES_PER_SECOND = 2.0


@dataclass(slots=True)
class Allowance:
    """What is left to a hop. `said` is to be called with the time of each frame."""

    _left: float = MOST_FRAMES
    _at: float | None = None

    def said(self, now: float, *, is_work: bool) -> bool:
        """Count a frame. False: it is too many."""
        if self._at is not None:
            self._left = min(MOST_FRAMES, self._left + (now - self._at) * FRAMES_PER_SECOND)
        self._at = now
        if not is_work:
            self._left -= 1
        return self._left >= 0
