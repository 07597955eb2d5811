"""How many rows a session asks for, and how long it waits for them. Pure: the caller brings the time.

Servers lease memory for every row, used or not, and refuse what they have no room for. What they refused is
asked for again with fewer rows, soon: the text that waits needs only one.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.errors import HopFailedError, NoRouteError, RefusedError
from p2pinfer.wire.status import Reason

_FEWEST_ROWS = 4
"""Of a session that is opened for one text: the next ones come soon, or begin like it."""

_FEWER = 4
"""By what the rows are divided when there was no room for them."""

_TRIAL_SECONDS = 2.0
"""How long a session waits for room where fewer rows, or other sessions, would do as well."""

_FULL_SECONDS = 5.0
"""After there was no room for one row more, none is asked for so long while other sessions have some."""

_REMEMBERED_SECONDS = 60.0
"""How long the rows stay fewer."""


@dataclass(slots=True, kw_only=True)
class Room:
    """What one client asks of its servers. `rows` and `session_tokens` bound a session."""

    rows: int
    session_tokens: int
    _most: int | None = None
    _most_until: float = 0.0
    _full_until: float = 0.0

    def rows_for(self, texts: int, *, length: int, now: float) -> int:
        """How many rows of `length` tokens to ask for when there are so many texts."""
        most = self.rows if self._most is None or now >= self._most_until else self._most
        return max(1, min(max(_FEWEST_ROWS, 2 * texts), most, self.session_tokens // length))

    def seconds_for(self, rows: int, *, left: float, has_others: bool) -> float:
        """How long to wait for servers with room for so many rows, of `left` seconds in all."""
        return min(left, _TRIAL_SECONDS) if rows > 1 or has_others else left

    def is_full(self, now: float) -> bool:
        """True for a while after there was no room for a single row."""
        return now < self._full_until

    def asks_for_less(self, rows: int, now: float) -> bool:
        """True if the next session will have fewer rows than so many."""
        return self._most is not None and now < self._most_until and self._most < rows

    def refused(self, error: Exception, rows: int, now: float) -> float | None:
        """Learn from an error. Returns after how many seconds to try again; None: that would not help.

        A shortage of layers is none of room: to ask for as many again may help, when servers have come.
        """
        if not isinstance(error, NoRouteError | RefusedError | HopFailedError):
            return None
        is_too_long = _is_too_long(error)
        if not is_too_long and not lacks_room(error):
            return 0.0
        if rows == 1:
            if is_too_long:
                return None
            self._full_until = now + _FULL_SECONDS
            return _FULL_SECONDS
        self._most, self._most_until = max(1, rows // _FEWER), now + _REMEMBERED_SECONDS
        return 0.0


def lacks_room(error: Exception) -> bool:
    """True if the layers are there, at servers that are full."""
    if isinstance(error, RefusedError):  # in the last moment of patience
        return error.reason in (Reason.CACHE_FULL, Reason.BUSY)
    return isinstance(error, NoRouteError) and error.is_for_room


def _is_too_long(error: Exception) -> bool:
    """True if the layers are there, at servers that are too small for the session."""
    if isinstance(error, RefusedError):
        return error.reason == Reason.TOO_LONG
    return isinstance(error, NoRouteError) and error.is_for_size  # another session has learnt it
