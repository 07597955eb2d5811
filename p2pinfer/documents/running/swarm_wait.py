"""Waiting for a swarm that is away: one document at a time shows whether it is back. No clock of its own."""

from __future__ import annotations

import math
import random

from p2pinfer.backoff import Backoff, Chance, jittered


class SwarmWait:
    """While the swarm is away: when the next document may try. Times are seconds of any one clock."""

    def __init__(self, pauses: Backoff, chance: Chance = random.random) -> None:
        self._pauses = pauses
        self._chance = chance
        self._failures = 0
        self._until = -math.inf
        self._trial: int | None = None  # the document that tries
        self.reason = ""
        """Why all wait, for people; empty: the swarm is there."""

    def seconds_left(self, now: float) -> float:
        """How long no document may begin: 0: one may now; infinite: until the one that tries has ended."""
        if not self.reason:
            return 0.0
        return math.inf if self._trial is not None else max(0.0, self._until - now)

    def began(self, number: int) -> None:
        """A document has begun."""
        if self.reason:
            self._trial = number

    def failed(self, reason: str, *, began_at: float, now: float) -> None:
        """A document that began then could not be answered, because the swarm is away."""
        self.reason = reason
        if began_at >= self._until:  # not one that was under way when the swarm left
            self._failures += 1
            self._until = now + jittered(self._pauses.longest_seconds(self._failures), self._chance)

    def ended(self, number: int) -> None:
        """A document has ended in whatever way."""
        if self._trial == number:
            self._trial = None

    def answered(self) -> None:
        """The swarm has answered: it is there."""
        self._failures, self._until, self.reason = 0, -math.inf, ""
        self._trial = None
