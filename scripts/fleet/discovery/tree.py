"""Where each server of a population is announced, once all have settled: `climb`'s rule, on arrays.

tests/fleet/discovery compares it with servers that live by the product's own rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2pinfer.swarm.cells.climb import CAPACITY, SPLIT
from p2pinfer.swarm.cells.place import DEPTH
from scripts.fleet.discovery.population import Floats, Numbers, Population, cells_at

ELDERS = CAPACITY // 2
"""Of a full key's records those that have been there longest; the others are the best ranks."""

Depths = NDArray[np.int8]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The cells of one depth that have records, sorted, and how many each key keeps."""

    cells: Numbers
    records: Counts
    offers: Counts  # how many servers ask for a place in each, with every heartbeat

    def records_at(self, cell: int) -> int:
        """Of one cell; 0 if it has none."""
        place = int(np.searchsorted(self.cells, np.uint64(cell)))
        found = place < len(self.cells) and int(self.cells[place]) == cell
        return int(self.records[place]) if found else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Of each server of `population` the home, and the top of its climb; of each depth the cells."""

    population: Population
    homes: Depths
    tops: Depths
    cells: tuple[Cells, ...]

    def announced(self, cell: int, depth: int) -> NDArray[np.intp]:
        """The servers that are announced in a cell, by number."""
        cells = cells_at(self.population.places, depth)
        first, end = np.searchsorted(cells, np.uint64(cell)), np.searchsorted(cells, np.uint64(cell), "right")
        there = np.arange(first, end)
        return there[(self.tops[there] <= depth) & (self.homes[there] >= depth)]


def homes_of(places: Numbers) -> Depths:
    """The depth of the largest cell that isn't crowded, of each place. `places` are sorted."""
    homes = np.full(len(places), -1, dtype=np.int8)
    for depth in range(DEPTH + 1):
        _, index, counts = np.unique(cells_at(places, depth), return_inverse=True, return_counts=True)
        homes[(homes < 0) & (counts[index] < SPLIT)] = depth
    homes[homes < 0] = DEPTH
    return homes


def settled(population: Population) -> Tree:
    """The tree of a population that has settled. Who came first anywhere came first in all its cells."""
    places = population.places
    homes = homes_of(places)
    tops = homes.copy()
    found = []
    asks = np.zeros(len(places), dtype=np.bool_)  # has a place in the smaller cell
    for depth in range(DEPTH, -1, -1):
        there = np.flatnonzero(asks | (homes == depth))
        cells = cells_at(places[there], depth)
        is_kept = kept_of(cells, population.came[there], population.ranks[there])
        tops[there[is_kept]] = depth
        asks[:] = False
        asks[there[is_kept]] = True
        kept, records = np.unique(cells[is_kept], return_counts=True)
        _, offers = np.unique(cells, return_counts=True)
        found.append(Cells(cells=kept, records=records, offers=offers))
    return Tree(population=population, homes=homes, tops=tops, cells=tuple(reversed(found)))


def kept_of(cells: Numbers, came: Floats, ranks: Floats) -> NDArray[np.bool_]:
    """Which of those that ask in each cell are kept: the ELDERS, and of the others the best ranks."""
    is_kept: NDArray[np.bool_] = positions(cells, came) < ELDERS
    younger = np.flatnonzero(~is_kept)
    is_kept[younger] = positions(cells[younger], ranks[younger]) < CAPACITY - ELDERS
    return is_kept


def positions(cells: Numbers, ranks: Floats) -> Counts:
    """The position of each by its rank (or age) among those of the same cell, from 0."""
    order = np.lexsort((ranks, cells))
    in_order = cells[order]
    begins = np.concatenate(([True], in_order[1:] != in_order[:-1])) if len(cells) else np.zeros(0, np.bool_)
    starts = np.maximum.accumulate(np.where(begins, np.arange(len(cells)), 0))
    found = np.empty(len(cells), dtype=np.int64)
    found[order] = np.arange(len(cells)) - starts
    return found
