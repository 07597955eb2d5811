"""How much work strangers get on trust. Belongs to the computing thread.

A session may run a little ahead of what its client has signed for (`streams/allowance.py`). Sessions and keys
cost nothing, so all that is unsigned has bounds for a key, for a network and in all, which come back within a
minute; what is signed comes back at once. Those who are known have wider ones. When what all may have
together is used up, networks take turns, and within a network who has waited longest comes first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, RatesByStanding
from p2pinfer.fairness.sources import Source
from p2pinfer.fairness.turns import Line, Turns

STRANGERS = (2, 4, 16)
"""For a key, for a network and in all, in receipts: what one session may run ahead."""

KNOWN = (64, 128, 512)
"""The same for those who have signed before."""

_IS_SHORT = 0.5

_Kin: TypeAlias = tuple[bool, tuple[Source, ...]]
"""Whether it is known, and where it comes from."""

_ALL = Guest()
"""Bounded by nothing but what there is for all."""


@dataclass(frozen=True, slots=True)
class TrustIn:
    """What one session runs on trust. Its guest may become known meanwhile."""

    work: UnsignedWork
    guest: Callable[[], Guest]

    def wait_seconds(self, tokens: int) -> float:
        """As of the work."""
        return self.work.wait_seconds(self, self.guest(), tokens)

    def count(self, tokens: int) -> None:
        """As of the work."""
        self.work.count(self.guest(), tokens)

    def is_short(self) -> bool:
        """As of the work."""
        return self.work.is_short(self.guest())

    def leave(self) -> None:
        """As of the work."""
        self.work.leave(self)


class UnsignedWork:
    """What a server computes on trust, for all sessions."""

    def __init__(self, receipt_tokens: int) -> None:
        self._rates = RatesByStanding(_bound(STRANGERS, receipt_tokens), _bound(KNOWN, receipt_tokens))
        self._turns: dict[bool, Turns[TrustIn]] = {False: Turns(), True: Turns()}
        """Who waits for what all may have together."""
        self._lines: dict[_Kin, Line[TrustIn]] = {}
        """Who waits for what its networks may have."""
        self._in_line: dict[TrustIn, _Kin] = {}

    def wait_seconds(self, session: TrustIn, guest: Guest, tokens: int) -> float:
        """Return after how many seconds a guest may run so many tokens, if it signs for nothing.

        Until its session runs them, or leaves, others leave it what it waits for, when its turn comes.
        """
        rates, turns, now = self._rates.of(guest), self._turns[guest.is_known], time.monotonic()
        line = self._lines.get((guest.is_known, guest.sources))
        seconds = rates.wait_seconds(guest, now, tokens)
        if not (seconds or turns or line):
            return 0.0
        of_key = rates.wait_seconds(Guest(key=guest.key), now, tokens)
        if of_key and of_key == seconds > rates.wait_seconds(_ALL, now, tokens):  # nobody else takes that
            self.leave(session)
            return seconds
        if (of_network := self._wait_in_line(session, guest, tokens, now)) > 0:
            turns.leave(session)
            return of_network
        before = turns.wait(session, guest.network, tokens)
        seconds = rates.wait_seconds(_ALL, now, min(tokens + before, rates.bound.in_all))
        if not seconds:
            self.leave(session)
        return seconds

    def _wait_in_line(self, session: TrustIn, guest: Guest, tokens: int, now: float) -> float:
        """The seconds until its networks let a session run, behind those that come from the same."""
        rates, name = self._rates.of(guest), (guest.is_known, guest.sources)
        if self._in_line.get(session, name) != name:
            self.leave(session)
        self._in_line[session] = name
        before = self._lines.setdefault(name, Line()).wait(session, tokens)
        most = min(tokens + before, rates.bound.per_source)
        seconds = rates.wait_seconds(Guest(sources=guest.sources), now, most)
        return seconds if seconds > rates.wait_seconds(_ALL, now, most) else 0.0

    def leave(self, session: TrustIn) -> None:
        """A session waits for nothing any more; harmless if it didn't."""
        for turns in self._turns.values():
            turns.leave(session)
        if (name := self._in_line.pop(session, None)) is not None:
            line = self._lines[name]
            line.leave(session)
            if not line:
                del self._lines[name]

    def count(self, guest: Guest, tokens: int) -> None:
        """A guest gets so many tokens; a negative number, or it has signed for them."""
        self._rates.of(guest).count(guest, time.monotonic(), tokens)
        self._turns[guest.is_known].served(guest.network, tokens)

    def is_short(self, guest: Guest) -> bool:
        """True if a guest should be asked to sign, so that it needn't wait soon."""
        return self._rates.of(guest).fullness(guest, time.monotonic()) < _IS_SHORT


def _bound(receipts: tuple[int, int, int], receipt_tokens: int) -> RateBound:
    key, source, in_all = receipts
    return RateBound(
        per_key=key * receipt_tokens, per_source=source * receipt_tokens, in_all=in_all * receipt_tokens
    )
