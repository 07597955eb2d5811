"""What a client remembers of one server, and for how long. Pure: the caller brings the time.

A new identity costs seconds, and nothing is gained by being forgotten: whoever is unknown is trusted less
than who has worked. An offence is remembered the longer, the more it has cost; each further one twice as
long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

KNOWN_STEPS = 16
"""A server that has answered so many steps in time is known."""

KNOWN_SECONDS = 30 * 86400.0
"""How long a server that does nothing for this client stays known."""

_MOST_STEPS = 100_000
_STEPS_THAT_EXCUSE = 1024
"""So many answered steps make up for an offence."""

_LONGEST_SECONDS = 7 * 86400.0
_MOST_OFFENCES = 20


class Offence(Enum):
    """What a server has done. The values are the seconds for which the first time is remembered."""

    BUSY = 60.0  # it held what it was asked for too long, but may have had a reason
    SLOW = 300.0  # it took several times as long as it says, and its neighbours didn't
    LEFT_FALSELY = 240.0  # it said that it leaves, and stayed
    STALLED = 600.0  # it took a step, said that it works, and didn't
    LIED = 3600.0  # what it said of itself can't be true, or it broke the protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Reputation:
    """All times are Unix seconds."""

    steps: int = 0  # answered in time, since its last grave offence
    worked_at: float = 0.0
    offences: int = 0  # that are not made up for
    offended_at: float = 0.0
    doubted_until: float = 0.0

    def is_doubted(self, now: float) -> bool:
        """True if the server gets a place only as a last resort. A clock that was set back forgives."""
        return now < self.doubted_until <= now + _LONGEST_SECONDS

    def is_known(self, now: float) -> bool:
        """True if the server has worked for this client, and nothing speaks against it."""
        return (
            self.steps >= KNOWN_STEPS
            and abs(now - self.worked_at) < KNOWN_SECONDS
            and not self.is_doubted(now)
        )

    def after_work(self, steps: int, now: float) -> Reputation:
        """It has answered so many steps in time."""
        total = min(_MOST_STEPS, self.steps + steps)
        made_up_for = total // _STEPS_THAT_EXCUSE - self.steps // _STEPS_THAT_EXCUSE
        return replace(self, steps=total, worked_at=now, offences=max(0, self.offences - made_up_for))

    def after(self, offence: Offence, now: float) -> Reputation:
        """It has done this. Who was only busy stays known."""
        seconds = min(_LONGEST_SECONDS, offence.value * 2 ** min(self.offences, _MOST_OFFENCES))
        return replace(
            self,
            steps=self.steps if offence is Offence.BUSY else 0,
            offences=min(_MOST_OFFENCES, self.offences + 1),
            offended_at=now,
            doubted_until=max(self.doubted_until if self.is_doubted(now) else 0.0, now + seconds),
        )

    def as_of(self, now: float) -> Reputation:
        """The same without what only a clock that was wrong could have dated: it lies in the future, and
        would count as newer than all that the server does from now on."""
        is_possible = self.doubted_until <= now + _LONGEST_SECONDS
        return replace(
            self,
            worked_at=min(self.worked_at, now),
            offended_at=min(self.offended_at, now),
            doubted_until=self.doubted_until if is_possible else 0.0,
        )

    def merged(self, other: Reputation) -> Reputation:
        """What two processes know together."""
        later = self if self.offended_at >= other.offended_at else other
        works = max((self, other), key=lambda one: one.worked_at)
        is_excused = works.worked_at > later.offended_at
        return Reputation(
            steps=works.steps if is_excused else later.steps,
            worked_at=works.worked_at,
            offences=works.offences if is_excused else later.offences,
            offended_at=later.offended_at,
            doubted_until=max(self.doubted_until, other.doubted_until),
        )
