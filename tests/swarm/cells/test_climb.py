"""Where servers are announced: cells split and merge by rule, and no key is ever a crowd's."""

from __future__ import annotations

from collections import Counter

import pytest

from p2pinfer.swarm.cells.climb import CAPACITY, MERGE, SPLIT, Climb, Sight, arrived, climbed, is_crowded
from p2pinfer.swarm.cells.place import DEPTH
from tests.swarm.cells.town import Town, places

ONE_CITY = ["0300333"]
WORLD = [""]
LOPSIDED = ["0300333", "0300333", "0300333", "21", "3"]


def town_of(count: int, prefixes: list[str]) -> Town:
    town = Town()
    for place in places(count, prefixes):
        town.add(place)
    town.settle()
    return town


def test_no_answer_changes_nothing():
    climb = Climb(home=5, top=3)

    assert climbed(climb, {}) == climb


def test_a_lost_answer_from_the_middle_is_not_climbed_over():
    """What lies above it stays as it is until the answer comes."""
    climb = Climb(home=5, top=3)
    empty = Sight(records=0, better=0)
    crowd = Sight(records=CAPACITY, better=CAPACITY)

    assert climbed(climb, {5: Sight(records=70, better=0), 3: crowd, 2: empty}) == climb


@pytest.mark.parametrize("depth", [0, DEPTH])
def test_the_smallest_and_the_largest_cell_are_where_it_ends(depth: int):
    crowd = dict.fromkeys(range(DEPTH + 1), Sight(records=CAPACITY, better=CAPACITY))
    empty = dict.fromkeys(range(DEPTH + 1), Sight(records=0, better=0))

    assert climbed(arrived(DEPTH), crowd).home == DEPTH
    assert climbed(arrived(0), empty) == arrived(0)
    assert depth in arrived(depth).looks


@pytest.mark.parametrize("servers", [1, 2, 30, SPLIT - 1])
def test_a_small_swarm_is_one_cell(servers: int):
    town = town_of(servers, WORLD)

    assert set(town.climbs.values()) == {arrived(0)}


@pytest.mark.parametrize("prefixes", [ONE_CITY, WORLD, LOPSIDED], ids=["one-city", "world", "lopsided"])
@pytest.mark.parametrize("servers", [SPLIT, 150, 700])
def test_every_key_has_all_servers_of_its_cell_or_the_best_ranks(servers: int, prefixes: list[str]):
    """The crowded ones have CAPACITY, or nearly: a reader sees that they are crowded."""
    town = town_of(servers, prefixes)
    population = Counter(place[:depth] for place in town.places.values() for depth in range(DEPTH + 1))

    for cell, servers_there in population.items():
        kept = town.kept(cell)
        by_rank = sorted(
            (number for number, place in town.places.items() if place.startswith(cell)),
            key=lambda number: town.ranks[number],
        )
        if any(town.climbs[number].home < len(cell) for number in by_rank):
            continue  # their home is a larger cell: nobody reads here
        assert kept == by_rank[:CAPACITY]
        assert is_crowded(len(kept)) == is_crowded(servers_there)
        assert len(town.announced[cell]) <= CAPACITY + 4


@pytest.mark.parametrize("prefixes", [ONE_CITY, WORLD, LOPSIDED], ids=["one-city", "world", "lopsided"])
def test_homes_are_not_crowded(prefixes: list[str]):
    town = town_of(1500, prefixes)
    homes = Counter(town.places[number][: climb.home] for number, climb in town.climbs.items())

    assert max(homes.values()) < SPLIT


def test_cells_merge_when_servers_leave_and_split_when_they_come_back():
    town = town_of(600, LOPSIDED)
    before = Counter(climb.home for climb in town.climbs.values())
    for number in list(town.climbs)[: 600 - MERGE + 1]:
        town.remove(number)
    town.settle()
    assert {climb.home for climb in town.climbs.values()} == {0}
    for place in places(600 - MERGE + 1, LOPSIDED, seed=2):
        town.add(place)
    town.settle()

    assert max(climb.home for climb in town.climbs.values()) >= max(before) - 1


@pytest.mark.parametrize("servers", [MERGE, MERGE + 10, SPLIT - 1])
def test_a_cell_that_shrinks_a_little_does_not_go_to_and_fro(servers: int):
    """Between MERGE and SPLIT everybody stays, and readers of the larger cell still find everybody."""
    town = town_of(SPLIT, WORLD)
    homes = {number: climb.home for number, climb in town.climbs.items()}
    for number in range(SPLIT - servers):
        town.remove(number)
    town.settle()

    assert all(climb.home == homes[number] for number, climb in town.climbs.items())
    assert town.found("0" * DEPTH) == set(town.climbs)


def test_a_burst_that_comes_at_the_same_moment_settles():
    """500 arrive at once where ten were: all of them find the root empty."""
    town = town_of(10, LOPSIDED)
    for place in places(500, LOPSIDED, seed=3):
        number = len(town.ranks)
        town.places[number], town.ranks[number] = place, town.chance.random()
        town._announce(number, arrived(0))

    assert town.settle() <= 20


def test_ranks_that_are_better_than_all_honest_ones_displace_nobody_at_home():
    """150 hostile servers of the best ranks in one quarter: the others' cell is still theirs."""
    town = town_of(300, ["0", "1"])
    for place in places(150, ["0"], seed=4):
        town.add(place, rank=0.0)
    town.settle()
    honest = {number for number in range(300) if town.places[number].startswith("1")}

    found = set()
    for place in {town.places[number] for number in honest}:
        found |= town.found(place)
    assert honest <= found
