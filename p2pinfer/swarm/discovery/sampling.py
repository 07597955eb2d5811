"""What somebody reads who shows a model's servers to others: a sample of all, and how many there are.

Such a reader must not tell who is near whom. So it doesn't read from where it is itself, but from the place
of one server, drawn by lot once a day; and what it found in the largest cell is told from the rest.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from p2pinfer.swarm.cells import ranks
from p2pinfer.swarm.cells.climb import is_crowded
from p2pinfer.swarm.cells.estimate import Size, size_of
from p2pinfer.swarm.cells.place import DEPTH, ROOT
from p2pinfer.swarm.discovery.live import is_whole, live
from p2pinfer.swarm.discovery.network import Network
from p2pinfer.swarm.discovery.reading import Reading
from p2pinfer.swarm.kademlia.validator import Record, newest
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import PeerId

PLACE_SECONDS = 86_400.0
_MOST_MODELS = 256
_ANYWHERE = "0" * DEPTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Servers of a model, as one reading found them."""

    servers: tuple[Announcement, ...]  # of all cells that were read
    from_everywhere: frozenset[PeerId]
    """Those of them that were found in the largest cell. To show only these tells nothing of places."""
    size: Size  # of the whole tree
    cells: Mapping[str, Size]
    """The cells that were read. Their names tell places: don't show them."""


class Sampling:
    """Of one member, of any number of models. It remembers where it read, for a day."""

    def __init__(
        self,
        network: Network,
        *,
        now: Callable[[], float] = time.time,
        choose: Callable[[list[Record]], Record] = random.choice,
    ) -> None:
        """`now` is in Unix seconds."""
        self._network, self._now, self._choose = network, now, choose
        self._views: OrderedDict[str, _View] = OrderedDict()

    async def sample(self, model: str) -> Sample:
        """Read some cells of a model's tree. Raises SwarmError while p2pd is away."""
        view = self._views.get(model)
        if view is None or not 0.0 <= self._now() - view.drawn_at < PLACE_SECONDS:
            view = await self._drawn(model)
        self._views[model] = view
        self._views.move_to_end(model)
        if len(self._views) > _MOST_MODELS:
            self._views.popitem(last=False)
        found: dict[str, list[Record]] = {}
        await view.reading.around(view.place, lambda some: is_whole(live(some, self._now())), found.update)
        has_grown = view.place == _ANYWHERE and is_crowded(len(found[ROOT]))
        if has_grown and self._views.get(model) is view:  # draw a place among its servers the next time
            del self._views[model]
        depth = view.reading.depth or 0
        # A descent that finds its way for the first time also reads cells that matter to nobody else.
        return self._sample({cell: found[cell] for cell in found if len(cell) in (0, depth - 1, depth)})

    async def _drawn(self, model: str) -> _View:
        reading = Reading(self._network, model, self._now)
        root = await reading.root()
        place = self._choose(root).place if is_crowded(len(root)) else _ANYWHERE
        return _View(reading=reading, place=place, drawn_at=self._now())

    def _sample(self, found: Mapping[str, list[Record]]) -> Sample:
        now = self._now()
        servers = live(newest(record for records in found.values() for record in records), now)
        return Sample(
            servers=tuple(servers),
            from_everywhere=frozenset(record.peer_id for record in found[ROOT]),
            size=size_of(_ranks(found[ROOT], now), len(servers)),
            cells={
                cell: size_of(_ranks(records, now), len(live(records, now)))
                for cell, records in found.items()
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    reading: Reading
    place: str
    drawn_at: float


def _ranks(records: list[Record], now: float) -> list[float]:
    return [ranks.rank(one.peer_id, one.proof, one.tree, ranks.epoch_at(one.peer_id, now)) for one in records]
