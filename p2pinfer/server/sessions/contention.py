"""Who gives up room when sessions ask for more than there is. Pure.

What a session asks for at its opening is promised to it, and costs nothing while nobody else needs it. While
others wait, no key and no source keeps more than an equal part, or a quarter if there are many, and strangers
together no more than what isn't kept for the known. From those above it, what was promised and is not used
goes first, then sessions: the idle, and strangers, the newest first. A session of somebody who is known, and
which is in use, is never ended for others. Who asks for room gets no more than its part either, with what it
has, unless others are idle: a long text may need more than that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Lack
from p2pinfer.fairness.sources import Source
from p2pinfer.types import SessionId

SHARE = 0.25
"""Of the room, for one key and for one source at least while others wait; as much is kept for the known."""

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
    room = totals.take_back(newcomer, amount - free, holdings, only_idle=is_too_much)
    return room or (Lack.KEY if is_too_much else Lack.ALL)


def obtainable(holdings: Sequence[Holding], capacity: int) -> int:
    """What a newcomer of another source would get at once."""
    free = capacity - sum(holding.promised for holding in holdings)
    newcomer = Guest(key=b"", sources=())
    totals = _Totals(newcomer, holdings, capacity)
    if free >= totals.share:
        return free
    above = list(totals.above(newcomer, holdings))
    gains = sum(holding.promised if _may_end(holding) else holding.unused for holding in above)
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

    def above(self, newcomer: Guest, holdings: Sequence[Holding]) -> Iterator[Holding]:
        """Those who have more than their part, as far as the newcomer may tell: of other keys, and other
        sources, unless its own have a quarter as well."""
        own = {source for source in newcomer.sources if self._by[source] >= self.share}
        for holding in holdings:
            guest = holding.guest
            if guest.key == newcomer.key:
                continue
            if (
                self._by[guest.key] > self.share
                or (not own and self._has_too_much(guest.sources, newcomer.sources))
                or (newcomer.is_known and not guest.is_known and self._strangers > self._most_for_strangers)
                or (not guest.is_known and holding.idle_seconds >= IDLE_SECONDS)
            ):
                yield holding

    def take_back(
        self, newcomer: Guest, missing: int, holdings: Sequence[Holding], *, only_idle: bool
    ) -> Concession | None:
        """Return what yields so much; None if nothing does."""
        above = [holding for holding in self.above(newcomer, holdings) if _is_idle(holding) or not only_idle]
        newest_first = above[::-1]
        newest_first.sort(key=lambda holding: holding.guest.is_known)
        cut: list[SessionId] = []
        for holding in newest_first:
            if missing > 0 and holding.unused:
                cut.append(holding.session)
                missing -= holding.unused
        ended: list[SessionId] = []
        candidates = [holding for holding in newest_first if _may_end(holding)]
        candidates.sort(key=lambda holding: -holding.idle_seconds if _is_idle(holding) else 0.0)
        for holding in candidates:
            if missing <= 0:
                break
            was_cut = holding.session in cut
            missing -= holding.used if was_cut else holding.promised
            ended.append(holding.session)
        if missing > 0:
            return None
        return Concession(tuple(name for name in cut if name not in ended), tuple(ended))

    def _has_too_much(self, sources: tuple[Source, ...], but: tuple[Source, ...]) -> bool:
        return any(self._by[source] > self.share for source in sources if source not in but)


def _party(guest: Guest) -> Hashable:
    return guest.sources[0] if guest.sources else guest.key


def _is_idle(holding: Holding) -> bool:
    return holding.idle_seconds >= IDLE_SECONDS


def _may_end(holding: Holding) -> bool:
    return _is_idle(holding) or not holding.guest.is_known
