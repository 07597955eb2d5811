"""How much work strangers get on trust. Belongs to the computing thread.

A session may run a little ahead of what its client has signed for (`streams/allowance.py`). Sessions and keys
cost nothing, so all that is unsigned has bounds for a key, for a network and in all, which come back within a
minute; what is signed comes back at once. Those who are known have wider ones. When what all may have
together is used up, networks take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.fairness.turns import Turns

STRANGERS = (2, 4, 16)
"""For a key, for a network and in all, in receipts: what one session may run ahead."""

KNOWN = (64, 128, 512)
"""The same for those who have signed before."""

_IS_SHORT = 0.5

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
        self._rates = {
            is_known: Rates(
                RateBound(
                    per_key=key * receipt_tokens,
                    per_source=source * receipt_tokens,
                    in_all=in_all * receipt_tokens,
                )
            )
            for is_known, (key, source, in_all) in ((False, STRANGERS), (True, KNOWN))
        }
        self._turns: dict[bool, Turns[TrustIn]] = {False: Turns(), True: Turns()}

    def wait_seconds(self, session: TrustIn, guest: Guest, tokens: int) -> float:
        """Return after how many seconds a guest may run so many tokens, if it signs for nothing.

        Until its session runs them, or leaves, others leave it what it waits for, when its turn comes.
        """
        rates, turns, now = self._rates[guest.is_known], self._turns[guest.is_known], time.monotonic()
        seconds = rates.wait_seconds(guest, now, tokens)
        if not seconds and not turns:
            return 0.0
        if seconds > rates.wait_seconds(_ALL, now, tokens):  # it has to wait for its own, which nobody takes
            self.leave(session)
            return seconds
        before = turns.wait(session, guest.network, tokens)
        seconds = rates.wait_seconds(_ALL, now, min(tokens + before, rates.bound.in_all))
        if not seconds:
            self.leave(session)
        return seconds

    def leave(self, session: TrustIn) -> None:
        """A session waits for nothing any more; harmless if it didn't."""
        for turns in self._turns.values():
            turns.leave(session)

    def count(self, guest: Guest, tokens: int) -> None:
        """A guest gets so many tokens; a negative number, or it has signed for them."""
        self._rates[guest.is_known].count(guest, time.monotonic(), tokens)
        self._turns[guest.is_known].served(guest.network, tokens)

    def is_short(self, guest: Guest) -> bool:
        """True if a guest should be asked to sign, so that it needn't wait soon."""
        return self._rates[guest.is_known].fullness(guest, time.monotonic()) < _IS_SHORT
