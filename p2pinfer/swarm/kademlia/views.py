"""What this node sees under a key, told to those who ask: what a search of its own finds, not just its store.

Whoever grinds identities can stand between a newcomer and a key, but not between the newcomer and all members
that it knows: these have found the records before, or keep some themselves. One who asks for ever new keys
gets what the store has; everybody's searches together are bounded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.swarm.kademlia.hardening import spawn
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.types import PeerId

FRESH_SECONDS = 2.0
"""A view this old is told again without a new search."""
MAX_VIEWS = 16
"""That are kept, the last that were asked for."""
SEARCHES = RateBound(in_all=120, per_source=120, per_key=30)
"""A minute, for others; the key is the asker's."""


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

    async def under(self, key: bytes, asker: PeerId) -> Sequence[Record]:
        """The records that a search has found lately; none if the asker has had too many searches.

        Several that ask at the same time wait for one search. A search that fails has found nothing.
        """
        now = asyncio.get_running_loop().time()
        view = self._views.get(key)
        if view is None or (view.search.done() and now - view.began_at > FRESH_SECONDS):
            if self._rates.use(Guest(key=asker.encode()), now) > 0:
                return ()
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
