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
        self._failures = 0  # in a row, of documents that tried; 0: nobody waits
        self._until = -math.inf
        self._trial: int | None = None  # the document that tries
        self.reason = ""
        """Why nothing is answered, for people; empty: the swarm is there."""

    @property
    def is_on(self) -> bool:
        """True if all documents wait, but for one that tries."""
        return self._failures > 0

    def seconds_left(self, now: float) -> float:
        """How long no document may begin: 0: one may now; infinite: until the one that tries has ended."""
        if not self.is_on:
            return 0.0
        return math.inf if self._trial is not None else max(0.0, self._until - now)

    def began(self, number: int) -> None:
        """A document has begun."""
        if self.is_on:
            self._trial = number

    def note(self, reason: str) -> None:
        """A document could not be answered, and that may be the swarm's fault: nobody waits for that."""
        self.reason = reason or "servers failed"

    def failed(self, reason: str, *, began_at: float, now: float) -> None:
        """A document that began then could not be answered, because the swarm is away."""
        self.note(reason)
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
