"""What follows when a connection can't be accepted: how long to wait, and whether to say so. Pure."""

from __future__ import annotations

import errno

from p2pinfer.backoff import Backoff

GUEST_LEFT_SECONDS = 0.01
SHORTAGE = Backoff(first_seconds=0.1, most_seconds=2.0)
SAY_AGAIN_SECONDS = 60.0

_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def is_shortage(error: OSError) -> bool:
    """True if descriptors or memory lack: whoever is closed now makes room for the next."""
    return error.errno in _SHORTAGES


class AcceptFailures:
    """The failures of one listening socket.

    Without descriptors or memory the same connection fails at once again, so the waits grow. Any other
    failure is that of one guest, for example because it has gone again: the next guest must not wait for it.
    """

    def __init__(self) -> None:
        self._in_a_row = 0
        self._last: float | None = None  # seconds, of any clock

    def wait_seconds(self, error: OSError) -> float:
        """How long to wait after this failure."""
        if not is_shortage(error):
            return GUEST_LEFT_SECONDS
        self._in_a_row += 1
        return SHORTAGE.longest_seconds(self._in_a_row)

    def is_news(self, now: float) -> bool:
        """True if the user has to be told: the last failure was more than a minute ago, if there was one."""
        last, self._last = self._last, now
        return last is None or now - last > SAY_AGAIN_SECONDS

    def accepted(self) -> None:
        """A connection was accepted: the next shortage begins with a short wait."""
        self._in_a_row = 0
