"""How long a connection is waited for: for its request, by parts, and until it has read its answer. Pure.

A large body or answer may take hours on a slow line. So time is given by what moves: in each span of time so
many bytes have to come, or to go.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """What a connection is given, in seconds and bytes."""

    silent_seconds: float = 60.0
    """For the first byte of a request: browsers connect before they ask. The silent go first anyway."""

    head_seconds: float = 10.0
    """From the first byte of a request to the end of its headers."""

    body_seconds: float = 15.0
    answer_seconds: float = 30.0
    least_bytes: int = 64 << 10
    """So much has to move within that time: 35 kbit/s of a body, 17 of an answer."""


DEADLINES = Deadlines()


class Waiting(Enum):
    """What part of a request is waited for."""

    START = auto()
    HEAD = auto()
    BODY = auto()
    NOTHING = auto()
    """It is there as a whole."""


class Patience:
    """One connection's time. `now` is in seconds of any steady clock."""

    __slots__ = ("_body_bytes", "_deadlines", "_since", "_unread_bytes", "_unread_since", "waiting")

    def __init__(self, deadlines: Deadlines, now: float) -> None:
        self._deadlines = deadlines
        self.waiting = Waiting.START
        self._since = now
        self._body_bytes = 0
        self._unread_bytes = 0
        self._unread_since: float | None = None

    def wait_for(self, part: Waiting, now: float) -> None:
        """From now on that part is waited for."""
        self.waiting = part
        self._since = now
        self._body_bytes = 0

    def came(self, body_bytes: int) -> None:
        """So much of a body has come."""
        self._body_bytes += body_bytes

    def went(self) -> None:
        """What the peer had not read has gone, or most of it."""
        self._unread_since = None

    def request_is_over(self, now: float, *, is_paused: bool) -> bool:
        """True if the peer has not sent in time. `is_paused`: nothing is read from it at the moment."""
        if is_paused:
            self._since, self._body_bytes = now, 0
            return False
        waited = now - self._since
        if self.waiting is Waiting.START:
            return waited >= self._deadlines.silent_seconds
        if self.waiting is Waiting.HEAD:
            return waited >= self._deadlines.head_seconds
        if self.waiting is Waiting.BODY and waited >= self._deadlines.body_seconds:
            if self._body_bytes < self._deadlines.least_bytes:
                return True
            self._since, self._body_bytes = now, 0
        return False

    def answer_is_over(self, now: float, unread_bytes: int) -> bool:
        """True if the peer has not read what waits for it: so many bytes now."""
        if not unread_bytes:
            self._unread_since = None
        elif self._unread_since is None or (unread_bytes <= self._unread_bytes - self._deadlines.least_bytes):
            self._unread_since, self._unread_bytes = now, unread_bytes
        return self._unread_since is not None and now - self._unread_since >= self._deadlines.answer_seconds
