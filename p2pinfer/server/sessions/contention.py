"""Who gives up room when sessions ask for more than there is. Pure.

What a session asks for at its opening is promised to it, and costs nothing while nobody else needs it. While
others wait, no key and no source keeps more than an equal part, or a quarter if there are many, and strangers
together no more than what isn't kept for the known. What was promised and is not used goes first: of those
above their part, then of all other strangers, who would shut out everybody by a few large promises. Then
sessions go: the idle, and of those above their part strangers, the newest first. Where nobody is above its
part, because many networks fill everything, the strangers of a network go that has several times what the
newcomer would have. A session of somebody who is known, and which is in use, is never ended for others, but
may find no room to grow. Who asks for room gets no more than its part either, with what it has, unless others
are idle: a long text may need more than that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Lack
from p2pinfer.fairness.sources import Source
from p2pinfer.types import SessionId

SHARE = 0.25
"""Of the room, for one key and for one source at least while others wait; as much is kept for the known."""

SEVERAL_TIMES = 2
"""So many times as much as the newcomer would have is too much, where nobody is above its part. A network
that loses a session for that can't take the place of the newcomer in turn."""

IDLE_SECONDS = 10.0
"""A session without a step for so long makes room for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a session has. The unit is the caller's: layer-tokens, or 1 for a place."""

    session: SessionId
    guest: Guest
    promised: int
    used: int
    idle_seconds: float

    @property
    def unused(self) -> int:
        """What can be taken back, and the session goes on."""
        return max(0, self.promised - self.used)


@dataclass(frozen=True, slots=True)
class Concession:
    """What makes room: the sessions that lose what they don't use, and those that end."""

    cut: tuple[SessionId, ...] = ()
    end: tuple[SessionId, ...] = ()


def concede(newcomer: Guest, amount: int, holdings: Sequence[Holding], capacity: int) -> Concession | Lack:
    """Return what makes room for `amount` more of a guest, or why there is none.

    `holdings` are all sessions, the oldest first, those of the guest too.
    """
    free = capacity - sum(holding.promised for holding in holdings)
    if amount <= free:
        return Concession()
    totals = _Totals(newcomer, holdings, capacity)
    is_too_much = totals.of(newcomer.key) + amount > totals.share
    room = totals.take_back(newcomer, amount, amount - free, holdings, only_idle=is_too_much)
    return room or (Lack.KEY if is_too_much else Lack.ALL)


def obtainable(holdings: Sequence[Holding], capacity: int) -> int:
    """What a newcomer of another source would get at once."""
    free = capacity - sum(holding.promised for holding in holdings)
    newcomer = Guest(key=b"", sources=())
    totals = _Totals(newcomer, holdings, capacity)
    if free >= totals.share:
        return free
    above = totals.above(newcomer, holdings)
    gains = sum(holding.promised if _may_end(holding) else holding.unused for holding in above)
    gains += sum(holding.unused for holding in _strangers_among(holdings, newcomer, but=above))
    idle = sum(holding.promised for holding in above if _is_idle(holding))
    return max(0, free + idle, min(int(totals.share), free + gains))


class _Totals:
    """What keys, sources and strangers have in all."""

    def __init__(self, newcomer: Guest, holdings: Sequence[Holding], capacity: int) -> None:
        parties = {_party(newcomer), *(_party(holding.guest) for holding in holdings)}
        self.share = max(SHARE, 1 / len(parties)) * capacity
        self._by: Counter[Hashable] = Counter()
        self._strangers = 0
        self._most_for_strangers = (1 - SHARE) * capacity
        for holding in holdings:
            for name in (holding.guest.key, *holding.guest.sources):
                self._by[name] += holding.promised
            self._strangers += 0 if holding.guest.is_known else holding.promised

    def of(self, name: Hashable) -> int:
        """What a key or a source has."""
        return self._by[name]

    def above(self, newcomer: Guest, holdings: Sequence[Holding]) -> list[Holding]:
        """Those who have more than their part, as far as the newcomer may tell: of other keys, and other
        sources, unless its own have a quarter as well."""
        own = {source for source in newcomer.sources if self._by[source] >= self.share}
        return [
            holding
            for holding in holdings
            if (guest := holding.guest).key != newcomer.key
            and (
                self._by[guest.key] > self.share
                or (not own and self._has_too_much(guest.sources, newcomer.sources))
                or (newcomer.is_known and not guest.is_known and self._strangers > self._most_for_strangers)
                or (not guest.is_known and holding.idle_seconds >= IDLE_SECONDS)
            )
        ]

    def take_back(
        self, newcomer: Guest, amount: int, missing: int, holdings: Sequence[Holding], *, only_idle: bool
    ) -> Concession | None:
        """Return what yields so much as is missing of the amount; None if nothing does."""
        above = [holding for holding in self.above(newcomer, holdings) if _is_idle(holding) or not only_idle]
        newest_first = above[::-1]
        newest_first.sort(key=lambda holding: holding.guest.is_known)
        others = [] if only_idle else _strangers_among(holdings, newcomer, but=above)[::-1]
        cut: dict[SessionId, int] = {}
        for holding in (*newest_first, *others):
            if missing > 0 and holding.unused:
                cut[holding.session] = holding.unused
                missing -= holding.unused
        ended: list[SessionId] = []
        candidates = [holding for holding in newest_first if _may_end(holding)]
        candidates.sort(key=lambda holding: -holding.idle_seconds if _is_idle(holding) else 0.0)
        for holding in chain(candidates, self._much_larger(newcomer, amount, others)):
            if missing <= 0:
                break
            missing -= holding.promised - cut.pop(holding.session, 0)
            ended.append(holding.session)
        return None if missing > 0 else Concession(tuple(cut), tuple(ended))

    def _much_larger(self, newcomer: Guest, amount: int, others: Sequence[Holding]) -> Iterator[Holding]:
        """The sessions to end of networks that have several times what the newcomer would have, with its own
        network: of the largest the first of `others`, and so on as it shrinks."""
        own = max((self._by[name] for name in (newcomer.key, *newcomer.sources)), default=0)
        left = Counter(self._by)
        parties: dict[Hashable, list[Holding]] = {}
        for holding in others:
            if not set(holding.guest.sources) & set(newcomer.sources):
                parties.setdefault(holding.guest.network or holding.guest.key, []).append(holding)
        while parties:
            largest = max(parties, key=lambda party: left[party])
            if left[largest] <= SEVERAL_TIMES * (own + amount):
                return
            holding = parties[largest].pop(0)
            left[largest] -= holding.promised
            if not parties[largest]:
                del parties[largest]
            yield holding

    def _has_too_much(self, sources: tuple[Source, ...], but: tuple[Source, ...]) -> bool:
        return any(self._by[source] > self.share for source in sources if source not in but)


def _strangers_among(
    holdings: Sequence[Holding], newcomer: Guest, *, but: Sequence[Holding]
) -> list[Holding]:
    """The sessions of other strangers than the newcomer, and than those that are left out."""
    left_out = {holding.session for holding in but}
    return [
        holding
        for holding in holdings
        if not holding.guest.is_known
        and holding.guest.key != newcomer.key
        and holding.session not in left_out
    ]


def _party(guest: Guest) -> Hashable:
    return guest.sources[0] if guest.sources else guest.key


def _is_idle(holding: Holding) -> bool:
    return holding.idle_seconds >= IDLE_SECONDS


def _may_end(holding: Holding) -> bool:
    return _is_idle(holding) or not holding.guest.is_known
