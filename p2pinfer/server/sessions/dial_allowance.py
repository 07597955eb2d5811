"""How many doors a client may have this server knock at. Pure.

A client names the next hop of its session, and anybody can sign a record that names anybody's address. A
server that dialled whatever it is told would knock at doors for strangers, under its own name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

NEW_PER_CLIENT = 20
"""So many new doors a minute: a client's sessions lead on to a few servers, and to others when these fail."""
NEW_IN_ALL = 240
"""The same for all clients together: keys cost nothing."""
KNOWN_SECONDS = 600.0
"""A door that opened isn't new for so long, to nobody."""

_REFILL_SECONDS = 60.0
_MOST_CLIENTS = 4096
_MOST_DOORS = 1024


class DialAllowance:
    """The doors that are known, and what each client has left. `now` is in seconds of any steady clock."""

    def __init__(self) -> None:
        self._all = (float(NEW_IN_ALL), 0.0)  # what is left, and when that was
        self._clients: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # who asked last stands last
        self._doors: OrderedDict[Hashable, float] = OrderedDict()

    def is_known(self, door: Hashable, now: float) -> bool:
        """True if this door has opened not long ago: dialling it again is free."""
        opened_at = self._doors.get(door)
        return opened_at is not None and now - opened_at < KNOWN_SECONDS

    def take(self, client: bytes, now: float) -> float:
        """Count a new door that a client (its public key) names. Returns the seconds that it has to wait."""
        left = _left(self._clients.get(client, (float(NEW_PER_CLIENT), now)), NEW_PER_CLIENT, now)
        in_all = _left(self._all, NEW_IN_ALL, now)
        wait_seconds = max(_wait_seconds(left, NEW_PER_CLIENT), _wait_seconds(in_all, NEW_IN_ALL))
        if wait_seconds > 0:
            return wait_seconds
        self._all = (in_all - 1.0, now)
        self._clients[client] = (left - 1.0, now)
        self._clients.move_to_end(client)
        while len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return 0.0

    def opened(self, door: Hashable, now: float) -> None:
        """A peer was reached there, with the certificate of its record."""
        self._doors[door] = now
        self._doors.move_to_end(door)
        while len(self._doors) > _MOST_DOORS:
            self._doors.popitem(last=False)

    def stayed_shut(self, door: Hashable) -> None:
        """Nobody was reached there: the next time it is new again."""
        self._doors.pop(door, None)


def _left(was: tuple[float, float], most: int, now: float) -> float:
    left, at = was
    return min(float(most), left + (now - at) * most / _REFILL_SECONDS)


def _wait_seconds(left: float, most: int) -> float:
    return max(0.0, (1.0 - left) * _REFILL_SECONDS / most)
