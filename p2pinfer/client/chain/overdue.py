"""When to ask about an overdue step again, and when to give it up. Pure: the caller brings the time."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.client.chain.diagnosis import Stuck, Working

_STUCK_SECONDS = 1.0
"""How long nothing may pass between two hops before the link between them counts as broken. A hop reads its
lanes between batches, so a step that was sent may lie in the kernel for as long as a batch takes."""

_LATER_FACTOR = 1.5


@dataclass(slots=True)
class OverdueStep:
    """One step whose result is late. All times are seconds since the wait for it began.

    Overdue is not failed: while a hop says it is working, the client waits, up to `give_up_seconds`.
    """

    interval_seconds: float
    give_up_seconds: float
    _stuck: Stuck | None = None
    _stuck_since: float = 0.0

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
        return waited_seconds + min(self.interval_seconds, self.give_up_seconds / 4)
