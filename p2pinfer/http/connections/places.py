"""Who gets a place among a web server's connections, and who loses it. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from p2pinfer.fairness.crowd import Crowd
from p2pinfer.fairness.sources import Source

_Connection = TypeVar("_Connection", bound=Hashable)


class Places(Generic[_Connection]):
    """Connections that wait for a request, and those whose request is answered.

    Each of the methods that take a connection returns the one that has to leave for it, which may be itself.
    The newest connection always gets in: what waits in vain goes, of the source that has most of it.
    """

    def __init__(self, most: int) -> None:
        """A fourth of all places, at least one, is kept from answers: new requests need it."""
        self._most = most
        self._most_working = max(1, most * 3 // 4)
        self.waiting: Crowd[_Connection] = Crowd()
        self.working: Crowd[_Connection] = Crowd()

    def wait(self, connection: _Connection, source: Source) -> _Connection | None:
        """A connection has come, or waits for its next request."""
        self.working.remove(connection)
        self.waiting.add(connection, source)
        return self.waiting.first_to_go() if len(self.waiting) + len(self.working) > self._most else None

    def work(self, connection: _Connection, source: Source) -> _Connection | None:
        """A whole request is there."""
        self.waiting.remove(connection)
        self.working.add(connection, source)
        return self.working.first_to_go() if len(self.working) > self._most_working else None

    def leave(self, connection: _Connection) -> None:
        """A connection has ended."""
        self.waiting.remove(connection)
        self.working.remove(connection)
