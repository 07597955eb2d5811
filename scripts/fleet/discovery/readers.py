"""What clients do: they descend to their cell, and come back for news."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2pinfer.swarm.cells.descent import Descent
from scripts.fleet.discovery.population import cells_at
from scripts.fleet.discovery.ring import Ring
from scripts.fleet.discovery.tree import Counts, Tree

READ_AGAIN_SECONDS = 600.0
"""How often a client reads its cells, the root's among them."""
KNOWN_SECONDS = 15.0
"""How long a node on the path of a read answers with what the last one brought: as long as a heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One descent: cells read, records read in all, records of the result."""

    depth: int
    reads: int
    records_read: int
    records_used: int


def visit(tree: Tree, place: int, remembered: int | None = None) -> Visit:
    """A reader's way down, by the product's rule."""
    descent = Descent(remembered)
    seen: dict[int, int] = {}
    while (depth := descent.next_depth) is not None:
        cell = int(cells_at(np.array([place], dtype=np.uint64), depth)[0])
        seen[depth] = tree.cells[depth].records_at(cell)
        descent.saw(depth, seen[depth])
    return Visit(
        depth=descent.depth,
        reads=len(seen),
        records_read=sum(seen.values()),
        records_used=sum(seen.get(depth, 0) for depth in descent.result),
    )


def visits(tree: Tree, count: int, chance: np.random.Generator) -> tuple[list[Visit], list[Visit]]:
    """Readers who live where servers do: without a memory, and when they come again."""
    places = chance.choice(tree.population.places, size=count)
    first = [visit(tree, int(place)) for place in places]
    again = [visit(tree, int(place), one.depth) for place, one in zip(places, first, strict=True)]
    return first, again


def questions_at_nodes(ring: Ring, key: int, reads: int, *, is_known: bool, seed: int) -> Counts:
    """How many questions each node gets from `reads` of one key that come within KNOWN_SECONDS.

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
