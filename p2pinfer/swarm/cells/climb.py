"""In which of its cells a server announces itself. Pure: what it saw in, depths out.

Its *home* is the largest of its cells that isn't crowded: all servers there are found under one key. From
home it climbs: in each larger cell it is announced as well while it is among the CAPACITY best ranks. So a
cell's key has all its servers or the CAPACITY best, and a crowded cell's larger cells are crowded, too. A
server that isn't among the best of a cell isn't among those of larger ones: it doesn't ask there.

Why not fewer than CAPACITY from each smaller cell: a region whose servers are all in one quarter would seem
to be half empty, and everybody would go home to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from p2pinfer.swarm.cells.place import DEPTH

CAPACITY = 128
"""Records that a key keeps. Times 4 KB it is an answer of half a megabyte at most."""
SPLIT = 96
"""A cell with this many records is crowded. Below CAPACITY: nobody is lost while a cell splits."""
MERGE = 64
"""Servers go home to the larger cell when it has fewer. Well below SPLIT: no cell goes to and fro."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a server learns of a cell when it announces itself there, or asks."""

    records: int  # of other servers
    better: int  # of them, those with better ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """Where a server is announced: `home`, and all depths from `top` to it."""

    home: int
    top: int

    @property
    def depths(self) -> range:
        """Where it is announced, the largest cell first."""
        return range(self.top, self.home + 1)

    @property
    def looks(self) -> range:
        """The depths that it has to know: where it is announced, and one above, if there is one."""
        return range(max(0, self.top - 1), self.home + 1)


def is_crowded(records: int) -> bool:
    """True if a cell with so many records is split."""
    return records >= SPLIT


def arrived(home: int) -> Climb:
    """The climb of a server that has just found its home."""
    return Climb(home=home, top=home)


def climbed(climb: Climb, sights: dict[int, Sight]) -> Climb:
    """Where to announce next, after a look at the depths in `sights`.

    Home moves by one depth at a time, the top by as many as are known. A depth that isn't known (no answer
    came) changes nothing.
    """
    home = _home(climb.home, sights)
    if home != climb.home:
        return Climb(home=home, top=min(climb.top, home))
    top = climb.top
    for depth in reversed(range(climb.looks.start, home)):
        sight = sights.get(depth)
        if sight is None:
            break
        if sight.better >= CAPACITY:
            return replace(climb, top=depth + 1)
        top = min(top, depth)
    return replace(climb, top=top)


def _home(home: int, sights: dict[int, Sight]) -> int:
    here = sights.get(home)
    if here is not None and is_crowded(here.records + 1) and home < DEPTH:
        return home + 1
    above = sights.get(home - 1)
    if above is not None and above.records + 1 < MERGE:
        return home - 1
    return home
