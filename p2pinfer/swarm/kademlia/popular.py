"""Keys that everybody asks for, at nodes that only lie on the way: they answer for the keepers.

All readers of a large tree read its root. Its keepers are ten nodes, whatever the number of readers. So a
node that is asked for a key again and again reads it as well, once in a while, and tells those who ask what
it has found. A reader that gets as much from a node on its way as a keeper has goes no further.

Only what fills a crowded cell is told: it is a sample, and a sample may be some seconds old. The records of
other cells come from their keepers alone, so that who leaves is gone at once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from p2pinfer.swarm.cells.climb import is_crowded
from p2pinfer.swarm.kademlia.hardening import spawn
from p2pinfer.swarm.kademlia.validator import Record

ASKED = 8
"""Questions within FRESH_SECONDS that make a key popular: ours to its keepers is one instead."""
FRESH_SECONDS = 15.0
PAUSE_SECONDS = 5.0
"""Between two searches for keys where no crowd was found yet: asking for many costs us no more."""
MAX_COUNTED = 1024
MAX_TOLD = 16


@dataclass(slots=True)
class _Asked:
    """How often a key was asked for, and what was found."""

    since: float
    times: int = 0
    found: Sequence[Record] = field(default=())
    found_at: float = -FRESH_SECONDS


class Popular:
    """For one event loop. `search` returns what is found under a key; it ends when the node closes."""

    def __init__(self, search: Callable[[bytes], Awaitable[Sequence[Record]]]) -> None:
        self._search = search
        self._keys: OrderedDict[bytes, _Asked] = OrderedDict()
        self._searching: asyncio.Task[None] | None = None
        self._next_search_at = 0.0

    def asked(self, key: bytes) -> Sequence[Record]:
        """Somebody asks for a key. Returns a sample of its records; nothing if there is none to tell."""
        now = asyncio.get_running_loop().time()
        asked = self._keys.get(key)
        if asked is None or now - asked.since > FRESH_SECONDS:
            found = (asked.found, asked.found_at) if asked else ((), -FRESH_SECONDS)
            asked = self._keys[key] = _Asked(now, 0, *found)
        asked.times += 1
        self._keys.move_to_end(key)
        while len(self._keys) > MAX_COUNTED:
            self._keys.popitem(last=False)
        if now - asked.found_at <= FRESH_SECONDS:
            return asked.found
        # A crowd is known to be there: whoever asks for many other keys has no part in its turn.
        may_search = bool(asked.found) or now >= self._next_search_at
        if asked.times >= ASKED and may_search and not self._is_searching:
            if not asked.found:
                self._next_search_at = now + PAUSE_SECONDS
            self._searching = spawn(self._find(key, asked))
        return ()

    @property
    def _is_searching(self) -> bool:
        return self._searching is not None and not self._searching.done()

    async def _find(self, key: bytes, asked: _Asked) -> None:
        try:
            found = await self._search(key)
        except Exception:  # noqa: BLE001 - whatever failed, the keepers answer those who ask
            found = ()
        asked.found = found if is_crowded(len(found)) else ()
        asked.found_at = asyncio.get_running_loop().time()
        told = [one for one in self._keys.values() if one.found]
        for one in sorted(told, key=lambda one: one.found_at)[:-MAX_TOLD]:
            one.found = ()
