"""What clients do: they descend to their cell, and come back for news."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2pinfer.swarm.cells.descent import Descent
from scripts.fleet.discovery.population import cell_at
from scripts.fleet.discovery.ring import Ring
from scripts.fleet.discovery.tree import Counts, Tree

READ_AGAIN_SECONDS = 600.0
"""How often a client reads its cells, the root's among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What one reader read, and how many records that brought."""

    depth: int  # of its own cell
    cells: tuple[tuple[int, int], ...]  # with the depth of each
    beside: tuple[tuple[int, int], ...]  # of `cells` those beside its own, which had few
    records: int


def visit(tree: Tree, place: int, remembered: int | None = None) -> Visit:
    """A reader's way down, by the product's rule."""
    descent = Descent(remembered)
    while (depth := descent.next_depth) is not None:
        descent.saw(depth, tree.cells[depth].records_at(cell_at(place, depth)))
    way = tuple((cell_at(place, depth), depth) for depth in descent.result)
    beside = cells_beside(place, descent.depth) if descent.is_sparse else ()
    return Visit(
        depth=descent.depth,
        cells=way + beside,
        beside=beside,
        records=sum(tree.cells[depth].records_at(cell) for cell, depth in way + beside),
    )


def cells_beside(place: int, depth: int) -> tuple[tuple[int, int], ...]:
    """The other quarters of the cell above, as the product's function of this name has them."""
    return tuple((cell_at(place, depth) ^ quarter, depth) for quarter in range(1, 4 if depth else 1))


def visits(tree: Tree, count: int, chance: np.random.Generator) -> tuple[list[Visit], list[Visit]]:
    """Readers who live where servers do: without a memory, and when they come again."""
    places = chance.choice(tree.population.places, size=count)
    first = [visit(tree, int(place)) for place in places]
    again = [visit(tree, int(place), one.depth) for place, one in zip(places, first, strict=True)]
    return first, again


def questions_at_nodes(ring: Ring, key: int, reads: int, *, is_known: bool, seed: int) -> Counts:
    """How many questions each node gets from `reads` of one key that come within FRESH_SECONDS.

    With `is_known` a node on the path asks once for what it doesn't know, and answers all others itself.
    Without, every read walks until no nearer node is known.
    """
    chance = np.random.default_rng(seed)
    questions = np.zeros(len(ring.ids), dtype=np.int64)
    knows = np.zeros(len(ring.ids), dtype=np.bool_)
    walkers = chance.integers(0, len(ring.ids), size=reads)
    while len(walkers):
        after = ring.steps(walkers, key)
        walkers = after[after != walkers]
        np.add.at(questions, walkers, 1)
        if is_known:
            walkers = np.unique(walkers)
            walkers = walkers[~knows[walkers]]
            knows[walkers] = True
    return questions
