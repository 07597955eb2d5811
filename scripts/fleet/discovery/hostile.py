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

from p2pinfer.swarm.cells.descent import Descent
from p2pinfer.swarm.cells.keys import SALTS
from p2pinfer.swarm.kademlia.node import BUCKET_SIZE, REPLICAS
from scripts.fleet.discovery.population import cells_at, population_of
from scripts.fleet.discovery.ring import Ring, keys_of
from scripts.fleet.discovery.tree import Tree, settled

PARTS = 8
"""A whole route needs servers of each eighth of the layers. Which a server has is drawn."""
STARTS = 3  # nodes that a walk begins with
MEMBERS_ASKED = 8
"""Of the servers that were found, so many are asked for their own cell."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Of all newcomers the share who found a whole honest route."""

    share: float  # of hostile identities
    best_ranks: bool  # theirs are better than all honest ones
    one_walk: float  # one lookup of one key of each cell
    disjoint: float  # all salts, several walks that share no node
    with_members: float  # and servers that were found are asked for their cell
    with_cells_beside: float  # and the cells beside the own one are read, too


def hostile_day(
    servers: int, share: float, *, best_ranks: bool = False, walks: int, newcomers: int, seed: int
) -> Found:
    """Let newcomers look for a route.

    With `best_ranks` the hostile ones have made, and paid for, so many identities that they could keep only
    those whose ranks are the best: of each sample they have what they can fill.
    """
    chance = np.random.default_rng((seed, round(share * 1000)))
    population, ring = population_of(servers, seed), Ring.of(servers, seed)
    is_hostile_server, is_hostile_node = chance.random((2, servers)) < share
    if best_ranks:
        population = replace(population, ranks=population.ranks + ~is_hostile_server)
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
        lone: set[int] = set()
        wide: set[int] = set()
        way = _way(tree, place)
        for depth in way:
            one_walk, all_walks = read(_cell(place, depth), depth)
            lone.update(one_walk)
            wide.update(all_walks)
        told = set(wide)
        asked = chance.permutation(sorted(wide))[:MEMBERS_ASKED]
        for member in asked[~is_hostile_server[asked]]:
            home = int(tree.homes[member])
            told.update(tree.announced(_cell(int(population.places[member]), home), home).tolist())
        beside = set(told)
        for other in range(1, 4 if way[-1] else 1):
            beside.update(read(_cell(place, way[-1]) ^ other, way[-1])[1])
        wins += [_is_whole(found, is_hostile_server, part_of) for found in (lone, wide, told, beside)]
    shares = (wins / newcomers).tolist()
    return Found(
        share=share,
        best_ranks=best_ranks,
        one_walk=shares[0],
        disjoint=shares[1],
        with_members=shares[2],
        with_cells_beside=shares[3],
    )


def _cell(place: int, depth: int) -> int:
    return int(cells_at(np.array([place], dtype=np.uint64), depth)[0])


def _way(tree: Tree, place: int) -> tuple[int, ...]:
    descent = Descent()
    while (depth := descent.next_depth) is not None:
        descent.saw(depth, tree.cells[depth].records_at(_cell(place, depth)))
    return descent.result


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
