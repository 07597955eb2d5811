"""The connections behind the door: which of them are in use, and which one makes room for a newcomer. Pure.

A connection is in use while a call is open on it: a session's call lasts as long as the session. Clients keep
connections that they may need again, so a server that is known to many has many idle ones.
"""

from __future__ import annotations

from collections import OrderedDict


class Guests:
    """Connections by their names. No clock is needed: the order in which they were used last is enough."""

    def __init__(self) -> None:
        self._idle: OrderedDict[str, None] = OrderedDict()  # the one that was used last stands last
        self._calls: dict[str, int] = {}  # open calls of those in use

    def __len__(self) -> int:
        return len(self._idle) + len(self._calls)

    def arrived(self, name: str) -> None:
        """A connection was accepted. Its name is new."""
        self._idle[name] = None

    def left(self, name: str) -> None:
        """A connection has ended; harmless if that is known."""
        self._idle.pop(name, None)
        self._calls.pop(name, None)

    def call_began(self, name: str) -> None:
        """A call began on a connection; harmless if there is no such connection any more."""
        if name in self._idle:
            del self._idle[name]
            self._calls[name] = 1
        elif name in self._calls:
            self._calls[name] += 1

    def call_ended(self, name: str) -> None:
        """A call has ended, for which `call_began` was called."""
        calls = self._calls.get(name)
        if calls is None:
            return
        if calls > 1:
            self._calls[name] = calls - 1
        else:
            del self._calls[name]
            self._idle[name] = None

    def longest_idle(self) -> str | None:
        """The connection that makes room if there is no other; None if all are in use."""
        return next(iter(self._idle), None)
