"""Who has used how much of one thing that comes back with time: dials, requests, unsigned work. Pure.

Token buckets: for each key and source, and one for all. A full bucket is as good as none, so only those that
were used lately are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from math import inf

from p2pinfer.fairness.guest import Guest

_MOST_BUCKETS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBound:
    """How much may be used within `seconds`, at once or spread over them."""

    in_all: float
    per_source: float
    per_key: float
    seconds: float = 60.0


class Rates:
    """What guests have left. `now` is in seconds of any steady clock, and never goes back."""

    def __init__(self, bound: RateBound) -> None:
        self.bound = bound
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """What is left in each, and when that was; the one that was used last stands last."""

    def wait_seconds(self, guest: Guest, now: float, amount: float = 1.0) -> float:
        """Return after how many seconds a guest may use so much; inf: never so much at once."""
        return max(
            (self._wait(name, most, now, amount) for name, most in self._names(guest)),
            default=0.0,
        )

    def fullness(self, guest: Guest, now: float) -> float:
        """Return the part, from 0 to 1, that is left of what a guest has least of."""
        return min((self._left(name, most, now) / most for name, most in self._names(guest)), default=1.0)

    def left(self, guest: Guest, now: float) -> float:
        """Return how much a guest may use at once."""
        return min((self._left(name, most, now) for name, most in self._names(guest)), default=inf)

    def use(self, guest: Guest, now: float, amount: float = 1.0) -> float:
        """Count a use, and return 0; or count nothing, and return the seconds that the guest has to wait."""
        if (seconds := self.wait_seconds(guest, now, amount)) > 0:
            return seconds
        self.count(guest, now, amount)
        return 0.0

    def count(self, guest: Guest, now: float, amount: float) -> None:
        """Count what was used, also where it is more than was left; a negative amount gives it back."""
        for name, most in self._names(guest):
            self._buckets[name] = (min(most, self._left(name, most, now) - amount), now)
            self._buckets.move_to_end(name)
        while len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)

    def _names(self, guest: Guest) -> Iterator[tuple[Hashable, float]]:
        yield "all", self.bound.in_all
        for source in guest.sources:
            yield ("source", source), self.bound.per_source
        if guest.key is not None:
            yield ("key", guest.key), self.bound.per_key

    def _left(self, name: Hashable, most: float, now: float) -> float:
        left, at = self._buckets.get(name, (most, now))
        return min(most, left + (now - at) * most / self.bound.seconds)

    def _wait(self, name: Hashable, most: float, now: float, amount: float) -> float:
        if amount > most:
            return inf
        return max(0.0, (amount - self._left(name, most, now)) * self.bound.seconds / most)


class RatesByStanding:
    """Rates for strangers, and others for those who are known: no crowd uses up what is theirs."""

    def __init__(self, strangers: RateBound, known: RateBound | None = None) -> None:
        """Without a bound for the known it is the strangers' once more."""
        self._rates = {False: Rates(strangers), True: Rates(known or strangers)}

    def of(self, guest: Guest) -> Rates:
        """Those that hold for a guest."""
        return self._rates[guest.is_known]
