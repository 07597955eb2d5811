"""A few honest servers among very many hostile identities, all of them paid.

The hostile servers live by the rule and say that they are where honest ones are; below that their ids decide.
What is counted is what the keepers of cells show: no memory, no gossip, and nobody who hides records. The
initial peers and the longest-known acquaintances keep records by the same rule, so they show no more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scripts.fleet.discovery.population import ID_BITS, Numbers, Population, population_of, together
from scripts.fleet.discovery.readers import cells_beside, visit
from scripts.fleet.discovery.tree import Tree, settled

CORE_SECONDS_OF_IDENTITY = 3.5
HOURS = 10  # ranks are drawn anew in each


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """What readers see who live where honest servers do: means over them, and over HOURS of ranks."""

    identities: int
    honest: int
    honest_first: bool  # the flood came when they were there
    root: float  # honest servers in the root's sample
    seen: float  # in all cells that a reader reads
    with_cells_beside: float  # and in all of those beside its own
    cost: float | None  # core-seconds for each honest server that `seen` lacks


def flood(identities: int, honest: int, *, honest_first: bool, readers: int, seed: int) -> Flood:
    """Let all of them settle, and readers look."""
    chance = np.random.default_rng((seed, identities))
    few = population_of(honest, seed)
    crowd = Population(
        places=_beside(chance.choice(few.places, size=identities), chance),
        ranks=chance.random(identities),
        came=chance.random(identities),
    )
    both, are_later = together(few, crowd) if honest_first else together(crowd, few)
    honest_ones = np.flatnonzero(are_later ^ honest_first)
    seen = []
    for _ in range(HOURS):
        tree = settled(replace(both, ranks=chance.random(len(both))))
        homes = _beside(chance.choice(few.places, size=max(1, readers // HOURS)), chance)
        seen += [_seen(tree, place, honest_ones) for place in homes.tolist()]
    root, read, beside = np.array(seen).mean(axis=0).tolist()
    return Flood(
        identities=identities,
        honest=honest,
        honest_first=honest_first,
        root=root,
        seen=read,
        with_cells_beside=beside,
        cost=identities * CORE_SECONDS_OF_IDENTITY / (honest - read) if read < honest else None,
    )


def _seen(tree: Tree, place: int, honest: NDArray[np.int64]) -> tuple[int, int, int]:
    """How many honest servers a reader sees in the root, in all its cells, in those beside as well."""

    def honest_at(cell: int, depth: int) -> set[int]:
        return set(np.intersect1d(tree.announced(cell, depth), honest).tolist())

    at = visit(tree, place)
    read = set[int]().union(*(honest_at(*cell) for cell in at.cells))
    beside = read.union(*(honest_at(*cell) for cell in cells_beside(place, at.depth)))
    return len(honest_at(0, 0)), len(read), len(beside)


def _beside(places: Numbers, chance: np.random.Generator) -> Numbers:
    """Places with the same coordinates, and other ids."""
    ids = chance.integers(0, 1 << ID_BITS, size=len(places), dtype=np.uint64)
    return places >> np.uint64(ID_BITS) << np.uint64(ID_BITS) | ids
