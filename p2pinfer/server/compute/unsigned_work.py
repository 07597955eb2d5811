"""How much work strangers get on trust. Belongs to the computing thread.

A session may run a little ahead of what its client has signed for (`streams/allowance.py`). Sessions and keys
cost nothing, so all that is unsigned has bounds for a key, for a network and in all, which come back within a
minute; what is signed comes back at once. Those who are known have wider ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates

STRANGERS = (2, 4, 16)
"""For a key, for a network and in all, in receipts: what one session may run ahead."""

KNOWN = (64, 128, 512)
"""The same for those who have signed before."""

_IS_SHORT = 0.5


@dataclass(frozen=True, slots=True)
class TrustIn:
    """What one session runs on trust. Its guest may become known meanwhile."""

    work: UnsignedWork
    guest: Callable[[], Guest]

    def wait_seconds(self, tokens: int) -> float:
        """As of the work."""
        return self.work.wait_seconds(self.guest(), tokens)

    def count(self, tokens: int) -> None:
        """As of the work."""
        self.work.count(self.guest(), tokens)

    def is_short(self) -> bool:
        """As of the work."""
        return self.work.is_short(self.guest())


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

    def wait_seconds(self, guest: Guest, tokens: int) -> float:
        """Return after how many seconds a guest may run so many tokens, if it signs for nothing."""
        return self._rates[guest.is_known].wait_seconds(guest, time.monotonic(), tokens)

    def count(self, guest: Guest, tokens: int) -> None:
        """A guest gets so many tokens; a negative number, or it has signed for them."""
        self._rates[guest.is_known].count(guest, time.monotonic(), tokens)

    def is_short(self, guest: Guest) -> bool:
        """True if a guest should be asked to sign, so that it needn't wait soon."""
        return self._rates[guest.is_known].fullness(guest, time.monotonic()) < _IS_SHORT
