"""The arrays of the simulation, against the product's own rules at sizes that both can do."""

from __future__ import annotations

import numpy as np
import pytest

from p2pinfer.swarm.cells.climb import CAPACITY
from p2pinfer.swarm.cells.place import DEPTH, place_of
from p2pinfer.swarm.coordinates.quantized import CELLS, Quantized
from scripts.fleet.discovery.population import cells_at, morton, population_of, text_of
from scripts.fleet.discovery.tree import ELDERS, settled
from tests.swarm.cells.town import Town


def test_places_are_those_of_the_product():
    chance = np.random.default_rng(1)
    x, y = chance.integers(0, CELLS, size=(2, 50), dtype=np.uint64)

    for number, (a, b) in enumerate(zip(x, y, strict=True)):
        place = place_of(Quantized(x=int(a), y=int(b), height=0), f"peer {number}")
        assert text_of(int(morton(x, y)[number]) << 18)[:7] == place[:7]


@pytest.mark.parametrize("servers", [1, 95, 96, 400, 800])
def test_a_settled_tree_is_where_servers_settle_that_live_by_the_rule(servers: int):
    """Homes and numbers of records. Who is kept is nearly the same: in the town not everybody comes first in
    a smaller cell who came first in a larger one."""
    population = population_of(servers, seed=1)
    town = Town()
    names = np.argsort(population.came)  # the town numbers them as they come
    for number in names:
        town.add(text_of(int(population.places[number])), float(population.ranks[number]))
    town.settle()
    tree = settled(population)

    in_town, in_tree = set(), set()
    for depth in range(DEPTH + 1):
        for cell in np.unique(cells_at(population.places, depth)):
            kept = town.kept(text_of(int(cell) << (32 - 2 * depth))[:depth])
            announced = tree.announced(int(cell), depth)
            assert len(announced) == len(kept) == tree.cells[depth].records_at(int(cell))
            in_town.update((int(names[number]), depth) for number in kept)
            in_tree.update((int(number), depth) for number in announced)
    assert [town.climbs[number].home for number in range(servers)] == tree.homes[names].tolist()
    assert len(in_town & in_tree) >= 0.8 * len(in_tree)


def test_of_a_full_key_half_came_first_and_half_have_the_best_ranks():
    population = population_of(3000, seed=1)
    kept = set(settled(population).announced(0, 0).tolist())
    by_age, by_rank = np.argsort(population.came), np.argsort(population.ranks)
    elders = set(by_age[:ELDERS].tolist())

    assert elders <= kept
    assert [number for number in by_rank.tolist() if number not in elders][: CAPACITY - ELDERS] == [
        number for number in by_rank.tolist() if number in kept - elders
    ]


def test_at_no_key_more_servers_ask_than_its_quarters_keep():
    tree = settled(population_of(20_000, seed=1))

    assert max(int(cells.offers.max(initial=0)) for cells in tree.cells) <= 4 * CAPACITY
