"""The connections behind the door: which of them are in use, and who makes room for a newcomer. Pure.

A connection is in use while a call is open on it: a session's call lasts as long as the session. Clients keep
connections that they may need again, so a server that is known to many has many idle ones.

Connections cost a stranger nothing. So each source has a share of them, a part is kept for those from where
known clients came lately, and when places are short a connection of the source that has most makes room: the
one that has been idle longest, or else one whose calls are no sessions. Sessions have bounds of their own:
a connection with one never makes room, and isn't counted in the share of its source.

Calls cost a stranger less than the server, which can be kept busy by calls that are broken off at once. So
their rate is bounded, and a connection on which too many come is closed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.merits import Merits
from p2pinfer.fairness.rates import RateBound, RatesByStanding
from p2pinfer.fairness.shares import Bound, Lack, Shares
from p2pinfer.fairness.sources import Source
from p2pinfer.server.door.nuisances import Nuisances

MAX_CONNECTIONS = 1024
MAX_CONNECTIONS_PER_SOURCE = 64
"""Without a session."""
SETTLING_SECONDS = 1.0
"""So young connections aren't closed for the share of their source: clients come back together when a server
starts again, each needs a moment for its session, and none is to be turned away."""
CALLS = RateBound(per_key=2_000, per_source=4_000, in_all=16_000, seconds=10.0)
"""Calls in ten seconds on one connection, from one network, and in all; once more for those who are known.
Who fetches a model asks for a MiB with each."""
BYTES = RateBound(per_key=256 << 10, per_source=1 << 20, in_all=8 << 20, seconds=4.0)
"""That gRPC takes in four seconds from one connection, one network, and in all; once more for those who are
known. Requests are short; what comes faster waits: gRPC would queue tens of thousands of calls."""
MOST_REFUSED = 100
"""So many more calls that were refused on a connection than others since: it is closed."""
_PART_FOR_KNOWN = 4
"""One place in so many."""

_Kin: TypeAlias = tuple[tuple[Source, ...], bool]
"""Where connections come from, and whether they are known there."""


@dataclass(slots=True)
class _Connection:
    guest: Guest
    came_at: float
    used_at: float
    calls: int = 0
    sessions: int = 0
    refused: int = 0  # calls that came too often
    has_called: bool = False

    @property
    def kin(self) -> _Kin:
        return self.guest.sources, self.guest.is_known

    @property
    def share(self) -> Guest:
        """As whom it is counted: with a session, only among all."""
        return Guest(is_known=self.guest.is_known) if self.sessions else self.guest


@dataclass(slots=True)
class _Kindred:
    """Connections without a session that come from the same place. Who was used last stands last."""

    idle: OrderedDict[str, None] = field(default_factory=OrderedDict)
    busy: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def first(self) -> str:
        return next(iter(self.idle or self.busy))


class Guests:
    """Connections by their names. `now` is in seconds of any steady clock."""

    def __init__(self, merits: Merits | None = None) -> None:
        """`merits` knows from where known clients came lately; nobody is known without."""
        self.merits = Merits() if merits is None else merits
        self._connections: dict[str, _Connection] = {}
        self._kindred: dict[_Kin, _Kindred] = {}
        self._calls = RatesByStanding(CALLS)
        self._nuisances = Nuisances()
        self._bytes = RatesByStanding(BYTES)
        self.hang_up: Callable[[str], None] = lambda name: None
        """Closes a connection; whoever accepts them sets it."""
        self.set_places(MAX_CONNECTIONS)

    def __len__(self) -> int:
        return len(self._connections)

    def set_places(self, most: int) -> None:
        """There are so many places, from now on. To be called before anybody comes."""
        assert not self._connections
        self._shares = Shares(
            Bound(
                in_all=most,
                per_source=MAX_CONNECTIONS_PER_SOURCE,
                per_key=most,  # a connection has no key
                for_known=most // _PART_FOR_KNOWN,
            )
        )

    def sources_of(self, name: str) -> tuple[Source, ...]:
        """Where a connection comes from: the network of a TCP address; for a tunnel its peer, the relay, and
        the network where that is known. () if there is no such connection."""
        connection = self._connections.get(name)
        return () if connection is None else connection.guest.sources

    def has_called(self, name: str) -> bool:
        """True if a call was ever made on a connection."""
        connection = self._connections.get(name)
        return connection is not None and connection.has_called

    def room_for(self, sources: tuple[Source, ...], now: float) -> tuple[str, ...] | None:
        """Who has to go before a newcomer may come, at most one; None if it can't."""
        newcomer = self._guest(sources)
        if not newcomer.is_known and self._nuisances.are_barred(sources, now):
            return None
        lack = self._shares.lack(newcomer)
        if lack is Lack.SOURCE:
            full = self._shares.full_sources(newcomer)
            name = self._first_to_go(
                kin for kin in self._kindred if kin[1] == newcomer.is_known and not full.isdisjoint(kin[0])
            )
            if name is not None and now - self._connections[name].came_at >= SETTLING_SECONDS:
                return (name,)
            lack = self._shares.lack(Guest(is_known=newcomer.is_known))
        match lack:
            case None:
                return ()
            case Lack.STRANGERS:
                name = self._first_to_go(kin for kin in self._kindred if not kin[1])
            case _:
                name = self._first_to_go(self._kindred)
        return None if name is None else (name,)

    def is_too_much(self, name: str) -> bool:
        """True if a connection, which has had the time to settle, is beyond the share of its source."""
        connection = self._connections.get(name)
        if connection is None or connection.sessions:
            return False
        return self._shares.most_of_a_source(connection.guest) > self._shares.bound.per_source

    def first_to_go(self) -> str | None:
        """The connection that makes room if there is no other; None if all have open sessions."""
        return self._first_to_go(self._kindred)

    def arrived(self, name: str, sources: tuple[Source, ...], now: float) -> None:
        """A connection was accepted. Its name is new."""
        guest = self._guest(sources)
        self._shares.take(guest)
        self._connections[name] = connection = _Connection(guest, came_at=now, used_at=now)
        self._place(name, connection)

    def left(self, name: str) -> None:
        """A connection has ended; harmless if that is known."""
        if (connection := self._connections.pop(name, None)) is not None:
            self._displace(name, connection)
            self._shares.give_back(connection.share)

    def received(self, name: str, count: int, now: float) -> float:
        """So many bytes have come for gRPC. Returns the seconds after which more may be read."""
        if (connection := self._connections.get(name)) is None:
            return 0.0
        guest = replace(connection.guest, key=name.encode())
        rates = self._bytes.of(guest)
        rates.count(guest, now, count)
        return rates.wait_seconds(guest, now, 0.0)

    def may_call(self, name: str, now: float) -> bool:
        """Count a call on a connection. False: too many come from there. Who goes on loses the connection;
        for a few that are refused others of the network may be to blame."""
        if (connection := self._connections.get(name)) is None:
            return True
        guest = replace(connection.guest, key=name.encode())
        if self._calls.of(guest).use(guest, now) == 0:
            connection.refused = max(0, connection.refused - 1)
            return True
        connection.refused += 1
        if connection.refused > MOST_REFUSED:
            self.hang_up(name)
        return False

    def call_was_empty(self, name: str, now: float) -> None:
        """A call on a connection has brought no request: too many of them, and it is closed."""
        if self._nuisances.note(self.sources_of(name), now):
            self.hang_up(name)

    def call_began(self, name: str, now: float, *, is_session: bool) -> None:
        """A call began on a connection; harmless if there is no such connection any more."""
        if (connection := self._connections.get(name)) is not None:
            connection.has_called = True
            self._change(name, connection, now, calls=1, sessions=int(is_session))

    def call_ended(self, name: str, now: float, *, is_session: bool) -> None:
        """A call has ended, for which `call_began` was called."""
        if (connection := self._connections.get(name)) is not None:
            self._change(name, connection, now, calls=-1, sessions=-int(is_session))

    def _guest(self, sources: tuple[Source, ...]) -> Guest:
        return self.merits.guest(None, sources)

    def _change(self, name: str, connection: _Connection, now: float, *, calls: int, sessions: int) -> None:
        self._displace(name, connection)
        self._shares.give_back(connection.share)
        connection.calls += calls
        connection.sessions += sessions
        connection.used_at = now
        self._shares.take(connection.share)
        self._place(name, connection)

    def _place(self, name: str, connection: _Connection) -> None:
        """Put a connection behind those that were used before, unless it has a session."""
        if not connection.sessions:
            kindred = self._kindred.setdefault(connection.kin, _Kindred())
            (kindred.busy if connection.calls else kindred.idle)[name] = None

    def _displace(self, name: str, connection: _Connection) -> None:
        if not connection.sessions:
            kindred = self._kindred[connection.kin]
            del (kindred.busy if connection.calls else kindred.idle)[name]
            if not kindred.idle and not kindred.busy:
                del self._kindred[connection.kin]

    def _first_to_go(self, kins: Iterable[_Kin]) -> str | None:
        """Of the source that has most, the one that has been idle longest; if none is, the one in use."""
        return max(self._firsts(kins), default=((), None))[1]

    def _firsts(self, kins: Iterable[_Kin]) -> Iterator[tuple[tuple[float, ...], str]]:
        """Of each kin the first to go, with how much speaks for it."""
        for kin in kins:
            name = self._kindred[kin].first()
            connection = self._connections[name]
            most = self._shares.most_of_a_source(connection.guest)
            yield (most, not connection.calls, -connection.used_at), name
