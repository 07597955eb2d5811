"""Read the cells of one tree: `cells.descent` says which, one after the other.

A reader's own cell is read each time: who leaves it is gone at once. What larger cells and those beside show
is a sample, or not near: it may be some seconds old, and so isn't fetched again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from p2pinfer.swarm.cells.climb import is_crowded
from p2pinfer.swarm.cells.descent import Descent
from p2pinfer.swarm.cells.keys import keys_of_cell
from p2pinfer.swarm.cells.place import ROOT, cell_of, cells_beside
from p2pinfer.swarm.discovery.network import Network
from p2pinfer.swarm.kademlia.validator import Record, newest
from p2pinfer.tasks import Nursery, all_of

SAMPLE_SECONDS = 45.0
"""A sample isn't read again before. Records live a minute."""


class Reading:
    """Of one reader in one tree. It remembers how deep it came."""

    def __init__(self, network: Network, tree: str, now: Callable[[], float] = time.time) -> None:
        """`now` is in Unix seconds."""
        self._network, self._tree, self._now = network, tree, now
        self._samples: dict[str, tuple[float, list[Record]]] = {}
        self.depth: int | None = None
        self.sizes: dict[str, int] = {}
        """The records that the last descent saw in each cell it read."""

    async def around(
        self,
        place: str,
        is_enough: Callable[[Collection[Record]], bool] = lambda _: True,
        saw: Callable[[Mapping[str, list[Record]]], None] = lambda _: None,
    ) -> list[Record]:
        """The records of a tree as seen from a place: all of its cell, and samples of larger ones.

        The cells beside are read as well where its own has few servers, and where all isn't enough. The
        newest record of each peer is returned. `saw` is told the records of each cell.
        """
        seen: dict[int, list[Record]] = {}
        descent = Descent(self.depth)
        async with Nursery() as nursery:
            # What was read the last time is likely to be read again: all of it at once.
            begun = {
                depth: nursery.start(self._cell(cell_of(place, depth), is_own=depth == self.depth))
                for depth in sorted({0, *([] if not self.depth else [self.depth - 1, self.depth])})
            }
            while (depth := descent.next_depth) is not None:
                reading = begun.pop(depth, None)
                seen[depth] = await (reading or self._cell(cell_of(place, depth)))
                descent.saw(depth, len(seen[depth]))
        self.depth = descent.depth
        self.sizes = {cell_of(place, depth): len(records) for depth, records in seen.items()}
        saw({cell_of(place, depth): records for depth, records in seen.items()})
        found = newest(record for depth in seen for record in seen[depth])
        if descent.is_sparse or (descent.depth > 0 and not is_enough(found)):
            beside = cells_beside(place, descent.depth)
            more = await all_of(*(self._cell(cell, is_beside=True) for cell in beside))
            self.sizes.update(zip(beside, map(len, more), strict=True))
            saw(dict(zip(beside, more, strict=True)))
            found = newest([*found, *(record for records in more for record in records)])
        if not is_enough(found):
            self._samples.clear()  # who waits for a server wants to know when it comes, wherever it is
        return found

    def stops_above(self, place: str, depth: int) -> bool:
        """True if readers around `place` may stop in a larger cell than that at `depth`: it isn't crowded."""
        return any(
            len(cell) < depth and place.startswith(cell) and not is_crowded(records)
            for cell, records in self.sizes.items()
        )

    async def root(self) -> list[Record]:
        """All records of a small tree, or a sample of a large one."""
        found = await self._cell(ROOT)
        self.sizes = {ROOT: len(found)}
        return found

    async def cells(self, cells: Iterable[str]) -> list[Record]:
        """The records of some cells, side by side."""
        return newest(record for records in await all_of(*map(self._cell, cells)) for record in records)

    async def _cell(self, cell: str, *, is_own: bool = False, is_beside: bool = False) -> list[Record]:
        now = self._now()
        self._samples = {
            one: (at, records)
            for one, (at, records) in self._samples.items()
            if 0.0 <= now - at < SAMPLE_SECONDS  # less than nothing: our clock was set back
        }
        if not is_own and self.depth and cell in self._samples:  # a small swarm's root is everybody's own
            return [record for record in self._samples[cell][1] if record.expires_at > now]
        # Who knows that the swarm is large leaves those that everybody knows to newcomers.
        shared = cell == ROOT and not self.depth
        records = await self._network.get(keys_of_cell(self._tree, cell), shared=shared)
        if is_beside or is_crowded(len(records)):  # else it has everybody, for some readers: no sample
            self._samples[cell] = now, records
        return records
