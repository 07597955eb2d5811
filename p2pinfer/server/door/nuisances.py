"""Networks whose calls bring no requests, and which are kept out for a while. Pure.

A call whose request doesn't come costs a stranger a few bytes, and this server's event loop a tenth of a
millisecond: thousands of them leave nothing for others. Nobody honest makes many.
"""

from __future__ import annotations

from collections import OrderedDict

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.fairness.sources import Source

_UNBOUNDED = 1e12

EMPTY_CALLS = RateBound(per_source=64, per_key=_UNBOUNDED, in_all=_UNBOUNDED)
"""In a minute, from one network or one peer of a tunnel."""

BARRED_SECONDS = 30.0
"""For so long its strangers get no new connections; those who are known do."""

_MOST_BARRED = 4096


class Nuisances:
    """`now` is in seconds of any steady clock."""

    def __init__(self) -> None:
        self._rates = Rates(EMPTY_CALLS)
        self._barred: OrderedDict[Source, float] = OrderedDict()  # until when; the last one stands last

    def note(self, sources: tuple[Source, ...], now: float) -> bool:
        """Count a call without a request. True: they are too many, and its connection should be closed."""
        whose = sources[:1]  # the narrowest: others may stand behind the same relay
        if not whose or self._rates.use(Guest(sources=whose), now) == 0:
            return False
        self._barred[whose[0]] = now + BARRED_SECONDS
        self._barred.move_to_end(whose[0])
        if len(self._barred) > _MOST_BARRED:
            self._barred.popitem(last=False)
        return True

    def are_barred(self, sources: tuple[Source, ...], now: float) -> bool:
        """True if nobody unknown is let in from there."""
        return bool(sources) and now < self._barred.get(sources[0], 0.0)
