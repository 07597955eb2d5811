"""In which of its cells a server announces itself. Pure: what their keepers answered in, depths out.

Its *home* is the largest of its cells that isn't crowded: all servers there are found under one key. From
home it climbs: in each larger cell it is announced as well while the keepers there have a place for it. So a
cell's key has all its servers or CAPACITY of them, and a crowded cell's larger cells are crowded, too. Who
has no place in a cell doesn't ask anew in larger ones: however many servers there are, few ask at the root.
Who has a place there keeps it, whatever smaller cells say: otherwise whoever fills one, or keeps its key,
would take its servers out of all samples.

The keepers decide, and not the ranks alone: they keep places for those who were there first, which a server
can't know. And whoever says that he is worse than everybody can't bring everybody to ask.

Why not fewer than CAPACITY from each smaller cell: a region whose servers are all in one quarter would seem
to be half empty, and everybody would go home to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.swarm.cells.place import DEPTH

CAPACITY = 128
"""Records that a key keeps. Times 4 KB it is an answer of half a megabyte at most."""
SPLIT = 96
"""A cell with this many records is crowded. Below CAPACITY: nobody is lost while a cell splits."""
MERGE = 64
"""Servers go home to the larger cell when it has fewer. Well below SPLIT: no cell goes to and fro."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a server learns of a cell when it announces itself there."""

    records: int  # of other servers
    is_kept: bool  # False: there was no place for it


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
    def tries(self) -> range:
        """`depths`, and one above, if there is one: it may have a place for one more by now."""
        return range(max(0, self.top - 1), self.home + 1)


def is_crowded(records: int) -> bool:
    """True if a cell with so many records is split."""
    return records >= SPLIT


def arrived(home: int) -> Climb:
    """The climb of a server that has just found its home."""
    return Climb(home=home, top=home)


def climbed(climb: Climb, sights: dict[int, Sight]) -> Climb:
    """Where to announce next, after the keepers of the depths in `sights` have answered.

    Home and top move by one depth at a time, or the top down to the first that doesn't refuse. A depth that
    isn't known (no answer came) changes nothing.
    """
    home = _home(climb.home, sights)
    return Climb(home=home, top=min(_top(climb, sights), home))


def _home(home: int, sights: dict[int, Sight]) -> int:
    here = sights.get(home)
    if here is not None and home < DEPTH and (not here.is_kept or is_crowded(here.records + 1)):
        return home + 1
    above = sights.get(home - 1)
    if above is not None and above.is_kept and above.records + 1 < MERGE:
        return home - 1
    return home


def _top(climb: Climb, sights: dict[int, Sight]) -> int:
    above = sights.get(climb.top - 1)
    if above is not None and above.is_kept:
        return climb.top - 1
    top = climb.top
    while (sight := sights.get(top)) is not None and not sight.is_kept:
        top += 1
    return top
