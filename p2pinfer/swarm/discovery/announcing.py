"""Be announced in the cells of one tree: `cells.climb` says in which, the keepers' answers move us.

What keepers say costs nothing, and where they are few enough somebody may have ground identities to be most
of them. So before an answer moves us we read the cell: readers look in it as we do, and nobody can show more
records than there are paid identities.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from p2pinfer.backoff import Chance
from p2pinfer.swarm.cells.climb import Climb, Sight, arrived, climbed, is_crowded
from p2pinfer.swarm.cells.keys import keys_of, keys_of_cell
from p2pinfer.swarm.cells.place import DEPTH, ROOT, cell_of
from p2pinfer.swarm.discovery.network import Network
from p2pinfer.swarm.kademlia.store import Stored
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.tasks import all_of

TRY_AGAIN_SECONDS = 300.0
"""After the keepers of a larger cell had no place. Ranks change once an hour."""


FEWEST = 2
"""Keepers of a cell for whom a server stays announced there."""


class Announcing:
    """Of one server in one tree."""

    def __init__(
        self,
        network: Network,
        chance: Chance,
        *,
        deepest: int = DEPTH,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`deepest` is the depth of the smallest cells of the tree; `now` is in Unix seconds."""
        self._network, self._chance, self._deepest, self._now = network, chance, deepest, now
        self.climb = arrived(0)
        self._try_at = 0.0
        self._live: dict[bytes, float] = {}  # key: when our last record there expires

    def begin_at(self, depth: int) -> None:
        """Before the first record: our home is likely to be at a depth, since a reader has arrived there."""
        self._forget_expired()
        if not self._live:
            self.climb = arrived(depth)
            self.try_again()

    def try_again(self) -> None:
        """Ask the keepers of a larger cell with the next record: what they have said is out of date."""
        self._try_at = 0.0

    async def put(self, record: Record) -> list[Stored]:
        """Announce `record` in all cells where it belongs now. Returns what the keepers of home answer.

        Where a cell has become crowded the record goes to the smaller one in the same call: readers look
        there as soon as they see the crowd. Where the larger one isn't crowded, they may read one that is
        larger still: then the record goes there, too.
        """
        at_home: list[Stored] = []
        depths = self.climb.tries if self._now() >= self._try_at else self.climb.depths
        for _ in range(DEPTH + 1):
            before = self.climb
            answers = await all_of(*(self._put(record, depth) for depth in depths))
            sights = {
                depth: sight
                for depth, found in zip(depths, answers, strict=True)
                if (sight := sight_of(found, is_there=depth >= before.top)) is not None
            }
            if before.home in depths:
                at_home = answers[depths.index(before.home)]
            if self.climb == before:  # no other announcement has moved us meanwhile
                await self._learn(record, sights)
            if self.climb.home > before.home:
                depths = range(before.home + 1, self.climb.home + 1)
            elif self._may_go_on(before, sights):
                depths = range(self.climb.top - 1, self.climb.top)
            else:
                break
        return at_home

    def _may_go_on(self, before: Climb, sights: dict[int, Sight]) -> bool:
        """True if we have a place one above, which isn't crowded: readers may be at home above it."""
        above = sights.get(self.climb.top)
        return 0 < self.climb.top < before.top and above is not None and not is_crowded(above.records + 1)

    async def _learn(self, record: Record, sights: dict[int, Sight]) -> None:
        before = self.climb
        moved = await self._moved(before, record, sights)
        if self.climb != before:
            return
        self.climb = moved
        if (above := sights.get(before.top - 1)) is not None and not above.is_kept:
            self._try_at = self._now() + TRY_AGAIN_SECONDS * (0.75 + 0.5 * self._chance())

    async def replace_all(self, tombstone: Record, but: Collection[bytes] = ()) -> None:
        """Put a tombstone wherever a record of ours in its place is still alive, and forget these.

        Under the keys `but` a newer record stays.
        """
        self._forget_expired()
        roots = keys_of_cell(tombstone.tree, ROOT)
        there = keys_of(tombstone.tree, tombstone.place).difference(but)
        goes = {key: expires_at for key, expires_at in self._live.items() if key in there}
        await all_of(*(self._network.put([key], tombstone, shared=key in roots) for key in goes))
        self._live = {key: until for key, until in self._live.items() if goes.get(key) != until}

    async def _moved(self, climb: Climb, record: Record, sights: dict[int, Sight]) -> Climb:
        """Where the keepers' answers move us, with what their cells show instead wherever they would.

        A cell that readers don't see crowded is where they stay: whatever was said, it has a place for us.
        """
        said, shown = sights, dict(sights)
        unread = set(said)
        while True:
            moved = climbed(climb, shown)
            moved = Climb(home=min(moved.home, self._deepest), top=min(moved.top, self._deepest))
            moving = {*range(climb.top, moved.top)}
            if moved.home != climb.home:
                moving.add(min(moved.home, climb.home))
            moving &= unread
            if not moving:
                return moved
            for depth in sorted(moving):
                keys = keys_of_cell(record.tree, cell_of(record.place, depth))
                found = await self._network.get(keys, shared=depth == 0)
                others = sum(one.peer_id != record.peer_id for one in found)
                has_place = said[depth].is_kept or not is_crowded(others + 1)
                shown[depth] = Sight(records=others, is_kept=has_place)
            unread -= moving

    async def _put(self, record: Record, depth: int) -> list[Stored]:
        keys = keys_of_cell(record.tree, cell_of(record.place, depth))
        self._forget_expired()
        self._live.update(dict.fromkeys(keys, record.expires_at))
        return await self._network.put(keys, record, shared=depth == 0)

    def _forget_expired(self) -> None:
        now = self._now()
        self._live = {key: expires_at for key, expires_at in self._live.items() if expires_at > now}


def sight_of(answers: Sequence[Stored], *, is_there: bool) -> Sight | None:
    """What the keepers of a cell say, of one that is announced there or only tries. None if they say nothing.

    To climb, most have to keep the record: a few liars don't bring everybody to the root. To stay, FEWEST do:
    who stands at both keys and says that they are full drives nobody from the keepers that are honest.
    """
    telling = [answer for answer in answers if answer.is_full or not answer.refusal]
    if not telling:
        return None
    kept = sum(not answer.is_full for answer in telling)
    enough = min(FEWEST, len(telling)) if is_there else len(telling) // 2 + 1
    return Sight(
        records=int(statistics.median_low(answer.records for answer in telling)), is_kept=kept >= enough
    )


def refusals(answers: Iterable[Stored]) -> list[str]:
    """Why keepers have refused, each reason once."""
    return list(dict.fromkeys(answer.refusal for answer in answers if answer.refusal))
