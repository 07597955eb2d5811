"""When to ask about an overdue step again, and when to give it up. Pure: the caller brings the time."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.client.chain.diagnosis import Stuck, Working

_STUCK_SECONDS = 1.0
"""How long nothing may pass between two hops before the link between them counts as broken. A hop reads its
lanes between batches, so a step that was sent may lie in the kernel for as long as a batch takes."""

_LATER_FACTOR = 1.5
_MOMENT_SECONDS = 0.01
_SOONEST_SECONDS = 0.1
_LEAST_PATIENCE_SECONDS = 1.0
_MOST_PATIENCE_SECONDS = 10.0
_EXPECTED_FACTOR = 6.0
_USUAL_FACTOR = 3.0


def patience_seconds(expected_seconds: float, usual_seconds: float = 0.0) -> float:
    """Return how long a hop may hold an overdue step before another server is looked for.

    `expected_seconds` is what the step was expected to take there, `usual_seconds` what such steps usually
    take on the whole route; 0.0: unknown.
    """
    some = max(_EXPECTED_FACTOR * expected_seconds, _USUAL_FACTOR * usual_seconds)
    return min(_MOST_PATIENCE_SECONDS, max(_LEAST_PATIENCE_SECONDS, some))


@dataclass(slots=True)
class OverdueStep:
    """One step whose result is late. All times are seconds since the wait for it began.

    Overdue is not failed: while a hop says it is working, the client waits, up to `give_up_seconds`. But a
    hop can say that for ever. After `patience_seconds` the client looks whether another server can take its
    place, and again after twice the time, and so on.
    """

    interval_seconds: float
    give_up_seconds: float
    patience_seconds: float = _MOST_PATIENCE_SECONDS
    _stuck: Stuck | None = None
    _stuck_since: float = 0.0
    _working: Working | None = None
    _working_since: float = 0.0

    def tries_patience(self, verdict: Stuck | Working, waited_seconds: float) -> bool:
        """True if the hop that has the step has had it for too long, unless no other can take its place."""
        if not isinstance(verdict, Working):
            return False
        if verdict != self._working:
            self._working, self._working_since = verdict, waited_seconds
        if waited_seconds - self._working_since < self.patience_seconds - _MOMENT_SECONDS:
            return False
        self.patience_seconds *= 2
        return True

    def next_look(self, verdict: Stuck | Working, waited_seconds: float) -> float | None:
        """Return when to ask the hops again; None: give up, what `verdict` names has failed."""
        if isinstance(verdict, Stuck):
            if verdict != self._stuck:
                self._stuck, self._stuck_since = verdict, waited_seconds
            stuck_seconds = waited_seconds - self._stuck_since
            if stuck_seconds >= _STUCK_SECONDS or waited_seconds >= self.give_up_seconds:
                return None
            return waited_seconds + _STUCK_SECONDS / 2
        self._stuck = None
        if waited_seconds >= self.give_up_seconds:
            return None
        self.interval_seconds *= _LATER_FACTOR
        look_at = waited_seconds + min(self.interval_seconds, self.give_up_seconds / 4)
        if self._working is not None:  # not later than when patience ends, if it hasn't
            ends = self._working_since + self.patience_seconds
            look_at = min(look_at, max(ends, waited_seconds + _SOONEST_SECONDS))
        return look_at
