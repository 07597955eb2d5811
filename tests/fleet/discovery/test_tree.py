"""The arrays of the simulation, against the product's own rules at sizes that both can do."""

from __future__ import annotations

import numpy as np
import pytest

from p2pinfer.swarm.cells.place import DEPTH, place_of
from p2pinfer.swarm.coordinates.quantized import CELLS, Quantized
from scripts.fleet.discovery.population import cells_at, morton, population_of, text_of
from scripts.fleet.discovery.tree import settled
from tests.swarm.cells.town import Town


def test_places_are_those_of_the_product():
    chance = np.random.default_rng(1)
    x, y = chance.integers(0, CELLS, size=(2, 50), dtype=np.uint64)

    for number, (a, b) in enumerate(zip(x, y, strict=True)):
        place = place_of(Quantized(x=int(a), y=int(b), height=0), f"peer {number}")
        assert text_of(int(morton(x, y)[number]) << 18)[:7] == place[:7]


@pytest.mark.parametrize("servers", [1, 95, 96, 400, 800])
def test_a_settled_tree_is_where_servers_settle_that_live_by_the_rule(servers: int):
    population = population_of(servers, seed=1)
    town = Town()
    for place, rank in zip(population.places, population.ranks, strict=True):
        town.add(text_of(int(place)), float(rank))
    town.settle()
    tree = settled(population)

    for depth in range(DEPTH + 1):
        for cell in np.unique(cells_at(population.places, depth)):
            text = text_of(int(cell) << (32 - 2 * depth))[:depth]
            expected = sorted(number for _, number in town.announced[text])
            assert tree.announced(int(cell), depth).tolist() == expected
            assert tree.cells[depth].records_at(int(cell)) == len(expected)
    assert [climb.home for climb in town.climbs.values()] == tree.homes.tolist()
