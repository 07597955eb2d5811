"""How many doors a client may have this server knock at. Pure.

A client names the next hop of its session, and anybody can sign a record that names anybody's address. A
server that dialled whatever it is told would knock at doors for strangers, under its own name. A record may
name twenty addresses, so they are counted one by one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, RatesByStanding

NEW_PER_CLIENT = 80
"""So many addresses a minute: a client's sessions lead on to a few servers, and to others when these fail;
each has a few addresses."""
NEW_PER_SOURCE = 240
"""The same for all clients of one network: keys cost nothing."""
NEW_IN_ALL = 960
"""The same for all strangers together, and once more for all that are known: networks cost little."""
KNOWN_SECONDS = 600.0
"""A door that opened isn't new for so long, to nobody."""

BOUND = RateBound(in_all=NEW_IN_ALL, per_source=NEW_PER_SOURCE, per_key=NEW_PER_CLIENT)
_MOST_DOORS = 1024


class DialAllowance:
    """The doors that are known, and what each client has left. `now` is in seconds of any steady clock."""

    def __init__(self) -> None:
        self._rates = RatesByStanding(BOUND)
        self._doors: OrderedDict[Hashable, float] = OrderedDict()

    def is_known(self, door: Hashable, now: float) -> bool:
        """True if this door has opened not long ago: dialling it again is free."""
        opened_at = self._doors.get(door)
        return opened_at is not None and now - opened_at < KNOWN_SECONDS

    def take(self, guest: Guest, now: float, addresses: int = 1) -> float:
        """Count a new door that a client names, at so many addresses. Returns the seconds that it has to
        wait."""
        return self._rates.of(guest).use(guest, now, max(1, addresses))

    def opened(self, door: Hashable, now: float) -> None:
        """A peer was reached there, with the certificate of its record."""
        self._doors[door] = now
        self._doors.move_to_end(door)
        while len(self._doors) > _MOST_DOORS:
            self._doors.popitem(last=False)

    def stayed_shut(self, door: Hashable) -> None:
        """Nobody was reached there: the next time it is new again."""
        self._doors.pop(door, None)
