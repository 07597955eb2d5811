"""Newcomers where a share of all identities is hostile: in every cell, and among the DHT's nodes.

Hostile servers live by the rule, so that they take as much room as they can. Hostile nodes tell of hostile
nodes only, of those nearest to the key, and of hostile records only: they all know each other. Ids aren't
ground: that is what the price of an identity is for. A walk is captured when all the nearest nodes it has
heard of are hostile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from p2pinfer.swarm.cells.keys import SALTS
from p2pinfer.swarm.kademlia.node import BUCKET_SIZE, REPLICAS
from scripts.fleet.discovery.population import population_of
from scripts.fleet.discovery.readers import cells_beside, visit
from scripts.fleet.discovery.ring import Ring, keys_of
from scripts.fleet.discovery.tree import settled

PARTS = 8
"""A whole route needs servers of each eighth of the layers. Which a server has is drawn."""
STARTS = 3  # nodes that a walk begins with

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """Who is hostile, and what they have done for it. With both of it they have all samples they can fill."""

    share: float  # of all identities
    best_ranks: bool = False  # they made, and paid for, so many that they could keep only the best
    first: bool = False  # they have been there longer than all others, so they are the elders everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Of all newcomers the share who found a whole honest route."""

    hostile: Hostile
    one_walk: float  # one lookup of one key of each cell on their way down
    disjoint: float  # all salts, several walks that share no node
    by_rule: float  # and the cells beside the own one where that is sparse
    all_beside: float  # where it isn't as well


def hostile_day(servers: int, hostile: Hostile, walks: int, newcomers: int, seed: int) -> Found:
    """Let newcomers look for a route, with so many disjoint walks."""
    chance = np.random.default_rng((seed, round(hostile.share * 1000)))
    population, ring = population_of(servers, seed), Ring.of(servers, seed)
    is_hostile_server, is_hostile_node = chance.random((2, servers)) < hostile.share
    if hostile.best_ranks:
        population = replace(population, ranks=population.ranks + ~is_hostile_server)
    if hostile.first:
        population = replace(population, came=population.came + ~is_hostile_server)
    tree = settled(population)
    part_of = chance.integers(0, PARTS, size=servers)
    hostile_ring = Ring(ring.ids[is_hostile_node])
    hostile_numbers = np.flatnonzero(is_hostile_node)
    wins = np.zeros(4)

    def read(cell: int, depth: int) -> tuple[list[int], list[int]]:
        """What one walk brings of a cell, and what all walks do."""
        there = tree.announced(cell, depth)
        hostile_there = there[is_hostile_server[there]].tolist()
        reached = []
        for key in keys_of(SALTS, chance):
            allies = hostile_numbers[hostile_ring.holders(np.array([key]), BUCKET_SIZE)[0]].tolist()
            reached.append(_reached(ring, int(key), is_hostile_node, allies, walks, chance))
        return (
            there.tolist() if reached[0][0] else hostile_there,
            there.tolist() if any(any(one) for one in reached) else hostile_there,
        )

    for _ in range(newcomers):
        place = int(chance.choice(population.places))
        at = visit(tree, place)
        lone: set[int] = set()
        wide: set[int] = set()
        own: set[int] = set()
        for cell in at.cells:
            one_walk, all_walks = read(*cell)
            wide.update(all_walks)
            if cell not in at.beside:
                lone.update(one_walk)
                own.update(all_walks)
        beside = wide.union(*(read(*cell)[1] for cell in cells_beside(place, at.depth) if not at.beside))
        wins += [_is_whole(found, is_hostile_server, part_of) for found in (lone, own, wide, beside)]
    shares = (wins / newcomers).tolist()
    return Found(
        hostile=hostile,
        one_walk=shares[0],
        disjoint=shares[1],
        by_rule=shares[2],
        all_beside=shares[3],
    )


def _reached(
    ring: Ring, key: int, is_hostile: Flags, allies: list[int], walks: int, chance: np.random.Generator
) -> list[bool]:
    """Which of several walks, one after the other and without a common node, came to an honest keeper."""
    keepers = {int(node) for node in ring.holders(np.array([key], dtype=np.uint64))[0]}
    asked: set[int] = set()
    return [
        _walk(ring, key, keepers, is_hostile, allies, asked, chance.integers(0, len(ring.ids), size=STARTS))
        for _ in range(walks)
    ]


def _walk(
    ring: Ring,
    key: int,
    keepers: set[int],
    is_hostile: Flags,
    allies: list[int],
    asked: set[int],
    starts: Iterable[int],
) -> bool:
    distance = {int(node): int(ring.ids[node]) ^ key for node in starts}
    ours: set[int] = set()
    while True:
        free = [one for one in distance if one in ours or one not in asked]  # not another walk's
        nearest = sorted(free, key=distance.__getitem__)[:REPLICAS]
        node = next((one for one in nearest if one not in ours), None)
        if node is None or len(ours) > 2 * BUCKET_SIZE:
            return False
        asked.add(node)
        ours.add(node)
        if node in keepers and not is_hostile[node]:
            return True
        for told in allies if is_hostile[node] else ring.known(node, key):
            distance.setdefault(told, int(ring.ids[told]) ^ key)


def _is_whole(found: set[int], is_hostile: Flags, part_of: NDArray[np.int64]) -> bool:
    members = np.fromiter(found, dtype=np.int64, count=len(found))
    return len(np.unique(part_of[members[~is_hostile[members]]])) == PARTS
