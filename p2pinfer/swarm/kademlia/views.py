"""What this node sees under a key, told to those who ask: what a search of its own finds, not just its store.

Whoever grinds identities can stand between a newcomer and a key, but not between the newcomer and all members
that it knows: these have found the records before, or keep some themselves. One who asks for ever new keys
gets what the store has; everybody's searches together are bounded. So are the bytes of all answers: a
question is short, and what it brings may be megabytes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.kademlia.hardening import spawn
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.types import PeerId

FRESH_SECONDS = 2.0
"""A view this old is told again without a new search."""
MAX_VIEWS = 16
"""That are kept, the last that were asked for."""
STALE_SECONDS = 15.0
"""So old it may be where the asker has no more searches."""
SEARCHES = RateBound(in_all=120, per_source=40, per_key=30)
"""A minute, for others; the key is the asker's."""
TOLD_BYTES = RateBound(in_all=1 << 28, per_source=1 << 25, per_key=1 << 24)
"""Of records, a minute. One answer has half a megabyte at most, and mostly a tenth of that."""
_SPARE = 0.75
"""While so much is left, nobody's network matters."""


@dataclass(slots=True)
class _View:
    search: asyncio.Task[Sequence[Record]]
    began_at: float


class Views:
    """For one event loop. `search` returns what is found under a key; it ends when the node closes."""

    def __init__(self, search: Callable[[bytes], Awaitable[Sequence[Record]]]) -> None:
        self._search = search
        self._rates = Rates(SEARCHES)
        self._views: OrderedDict[bytes, _View] = OrderedDict()

    async def under(self, key: bytes, asker: PeerId, source: Source | None = None) -> Sequence[Record]:
        """The records that a search has found lately; none if the asker, or its network, has had too many.

        Several that ask at the same time wait for one search. A search that fails has found nothing.
        """
        now = asyncio.get_running_loop().time()
        view = self._views.get(key)
        if view is None or (view.search.done() and now - view.began_at > FRESH_SECONDS):
            if self._rates.use(_guest(asker, source), now) > 0:
                is_known = view is not None and view.search.done() and now - view.began_at <= STALE_SECONDS
                return view.search.result() if view is not None and is_known else ()
            view = self._views[key] = _View(spawn(self._found(key)), now)
        self._views.move_to_end(key)
        while len(self._views) > MAX_VIEWS:
            self._views.popitem(last=False)
        return await asyncio.shield(view.search)

    async def _found(self, key: bytes) -> Sequence[Record]:
        try:
            return await self._search(key)
        except Exception:  # noqa: BLE001 - whatever failed, the asker has others to ask
            return ()


class Told:
    """The bytes of records that this node has told others. For one event loop."""

    def __init__(self) -> None:
        self._rates = Rates(TOLD_BYTES)

    async def asks(self, peer: PeerId, source_of: Callable[[PeerId], Awaitable[Source | None]]) -> Guest:
        """One who asks. To find out its network takes a moment: not while there is enough for everybody."""
        is_short = self._rates.fullness(Guest(), _now()) < _SPARE
        return _guest(peer, await source_of(peer) if is_short else None)

    def room(self, guest: Guest) -> int:
        """So many bytes it may be told now."""
        return max(0, int(self._rates.left(guest, _now())))

    def told(self, guest: Guest, count: int) -> None:
        """It was told so many."""
        self._rates.count(guest, _now(), count)


def _guest(peer: PeerId, source: Source | None) -> Guest:
    return Guest(key=peer.encode(), sources=() if source is None else (source,))


def _now() -> float:
    return asyncio.get_running_loop().time()
