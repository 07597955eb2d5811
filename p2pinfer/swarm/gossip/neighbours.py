"""Whom a member asks next. Pure.

A few at a time, since each new one costs a connection. Half are those known longest, the other half are drawn
from all by lot, and drawn anew after a while: neither a crowd that comes nor one that was there can be all of
them for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from p2pinfer.backoff import Chance
from p2pinfer.types import PeerId

ELDERS = 2
DRAWN = 2
STAY_SECONDS = 300.0
"""For so long one that was drawn is asked; they change one after the other."""
BARRED_SECONDS = 300.0
"""One that doesn't answer, or answers nonsense, isn't asked for so long."""
REFUSED_SECONDS = 1800.0
"""Nor one that refuses: a whole swarm may have the same initial peers, and few of them in its cell."""
_MOST_BARRED = 1024


class Neighbours:
    """Of one member. `now` is in seconds of a steady clock."""

    def __init__(self, now: Callable[[], float], chance: Chance) -> None:
        self._now, self._chance = now, chance
        self._drawn: dict[PeerId, float] = {}  # until
        self._turns: dict[PeerId, int] = {}  # in which each was asked last, or came
        self._turn = 0
        self._barred: dict[PeerId, float] = {}  # until

    def circle(self, elders: Sequence[PeerId], others: Sequence[PeerId]) -> list[PeerId]:
        """The neighbours now: `elders`, the best known first, and by lot of `others`."""
        now = self._now()
        self._barred = {peer: until for peer, until in self._barred.items() if until > now}
        steady = [peer for peer in elders if peer not in self._barred][:ELDERS]
        can_be = [peer for peer in dict.fromkeys(others) if peer not in self._barred and peer not in steady]
        staying = set(can_be)
        self._drawn = {peer: until for peer, until in self._drawn.items() if until > now and peer in staying}
        rest = [peer for peer in can_be if peer not in self._drawn]
        while rest and len(self._drawn) < DRAWN:
            one = rest.pop(int(self._chance() * len(rest)))
            self._drawn[one] = now + STAY_SECONDS * (0.5 + self._chance())
        return [*steady, *self._drawn]

    def next(self, elders: Sequence[PeerId], others: Sequence[PeerId]) -> PeerId | None:
        """The one of the circle that was asked longest ago; None if nobody can be asked."""
        # One that is new has to wait for its turn: else a crowd, silent one after the other, had all turns.
        turns = {peer: self._turns.get(peer, self._turn) for peer in self.circle(elders, others)}
        if not turns:
            return None
        one = min(turns, key=lambda peer: (turns[peer], self._chance()))
        self._turn += 1
        self._turns = {**turns, one: self._turn}
        return one

    def bar(self, peer: PeerId, seconds: float = BARRED_SECONDS) -> None:
        """Ask this one no more for a while."""
        self._barred[peer] = self._now() + seconds
        while len(self._barred) > _MOST_BARRED:
            del self._barred[next(iter(self._barred))]
