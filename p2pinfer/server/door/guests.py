"""The connections behind the door: which of them are in use, and which one makes room for a newcomer. Pure.

A connection is in use while a call is open on it: a session's call lasts as long as the session. Clients keep
connections that they may need again, so a server that is known to many has many idle ones. Sessions are few:
a server takes no more than it has room for. Other calls cost a stranger nothing. Who has only such ones open
makes room as well, if nobody is idle: else a thousand of them would shut out everybody.
"""

from __future__ import annotations

from collections import OrderedDict

from p2pinfer.fairness.sources import Source


class Guests:
    """Connections by their names. No clock is needed: the order in which they were used last is enough."""

    def __init__(self) -> None:
        self._idle: OrderedDict[str, None] = OrderedDict()  # the one that was used last stands last
        self._calls: dict[str, int] = {}  # open calls of those in use; who came into use last stands last
        self._sessions: dict[str, int] = {}  # those of them that are sessions
        self._sources: dict[str, tuple[Source, ...]] = {}

    def __len__(self) -> int:
        return len(self._idle) + len(self._calls)

    def sources_of(self, name: str) -> tuple[Source, ...]:
        """Where a connection comes from: the network of a TCP address; for a tunnel its peer, the relay, and
        the network where that is known. () if there is no such connection."""
        return self._sources.get(name, ())

    def arrived(self, name: str, sources: tuple[Source, ...] = ()) -> None:
        """A connection was accepted. Its name is new."""
        self._sources[name] = sources
        self._idle[name] = None

    def left(self, name: str) -> None:
        """A connection has ended; harmless if that is known."""
        self._idle.pop(name, None)
        self._calls.pop(name, None)
        self._sessions.pop(name, None)
        self._sources.pop(name, None)

    def call_began(self, name: str, *, is_session: bool) -> None:
        """A call began on a connection; harmless if there is no such connection any more."""
        if name in self._idle:
            del self._idle[name]
            self._calls[name] = 1
        elif name in self._calls:
            self._calls[name] += 1
        else:
            return
        if is_session:
            self._sessions[name] = self._sessions.get(name, 0) + 1

    def call_ended(self, name: str, *, is_session: bool) -> None:
        """A call has ended, for which `call_began` was called."""
        calls = self._calls.get(name)
        if calls is None:
            return
        if is_session and (sessions := self._sessions.pop(name, 0)) > 1:
            self._sessions[name] = sessions - 1
        if calls > 1:
            self._calls[name] = calls - 1
        else:
            del self._calls[name]
            self._idle[name] = None

    def first_to_go(self) -> str | None:
        """The connection that makes room if there is no other; None if all have open sessions.

        The one that has been idle longest; if none is idle, the one without a session that has been in use
        longest.
        """
        if (idle := next(iter(self._idle), None)) is not None:
            return idle
        return next((name for name in self._calls if name not in self._sessions), None)
