"""Where servers are announced: cells split and merge by rule, and nobody has to know all."""

from __future__ import annotations

from collections import Counter

import pytest

from p2pinfer.swarm.cells.climb import CAPACITY, MERGE, SPLIT, Climb, Sight, arrived, climbed
from p2pinfer.swarm.cells.place import DEPTH
from tests.swarm.cells.town import ELDERS, Town, places

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


def test_a_refusal_at_home_leads_to_a_smaller_cell_and_away_from_the_larger_ones():
    """Of a crowd that comes at once few ask at the root again."""
    full = Sight(records=CAPACITY, is_kept=False)

    assert climbed(arrived(0), {0: full}) == arrived(1)
    assert climbed(arrived(DEPTH), {DEPTH: full, DEPTH - 1: full}) == arrived(DEPTH)


def test_a_server_climbs_one_cell_at_a_time_and_comes_down_to_the_first_that_keeps_it():
    room, full = Sight(records=70, is_kept=True), Sight(records=CAPACITY, is_kept=False)
    climb = Climb(home=5, top=3)

    assert climbed(climb, {2: room, 3: room, 4: room, 5: room}) == Climb(home=5, top=2)
    assert climbed(climb, {2: full, 3: room, 4: room, 5: room}) == climb
    assert climbed(climb, {2: full, 3: full, 4: room, 5: room}) == Climb(home=5, top=4)
    assert climbed(climb, {2: full, 3: full, 4: full, 5: room}) == arrived(5)


def test_a_lost_answer_is_not_taken_for_a_refusal():
    """The cell above the one that refused may still keep it: it stays until it is told otherwise."""
    full = Sight(records=CAPACITY, is_kept=False)

    assert climbed(Climb(home=5, top=2), {2: full, 4: full}) == Climb(home=5, top=3)
    assert climbed(Climb(home=5, top=2), {3: full, 4: full}) == Climb(home=5, top=2)


def test_who_fills_a_cell_takes_nobody_out_of_the_larger_ones():
    room, full = Sight(records=70, is_kept=True), Sight(records=CAPACITY, is_kept=False)
    filled = {0: room, 1: full, 2: full, 3: room}

    assert climbed(Climb(home=3, top=0), filled) == Climb(home=3, top=0)


@pytest.mark.parametrize("depth", [0, DEPTH])
def test_the_smallest_and_the_largest_cell_are_where_it_ends(depth: int):
    crowd = dict.fromkeys(range(DEPTH + 1), Sight(records=CAPACITY, is_kept=True))
    empty = dict.fromkeys(range(DEPTH + 1), Sight(records=0, is_kept=True))

    assert climbed(arrived(DEPTH), crowd).home == DEPTH
    assert climbed(arrived(0), empty) == arrived(0)
    assert depth in arrived(depth).tries


@pytest.mark.parametrize("servers", [1, 2, 30, SPLIT - 1])
def test_a_small_swarm_is_one_cell(servers: int):
    town = town_of(servers, WORLD)

    assert set(town.climbs.values()) == {arrived(0)}


@pytest.mark.parametrize("prefixes", [ONE_CITY, WORLD, LOPSIDED], ids=["one-city", "world", "lopsided"])
@pytest.mark.parametrize("servers", [SPLIT, 150, 700])
def test_every_key_has_all_servers_of_its_cell_or_as_many_as_it_keeps(servers: int, prefixes: list[str]):
    """The crowded ones have CAPACITY, or nearly: a reader sees that they are crowded."""
    town = town_of(servers, prefixes)
    population = Counter(place[:depth] for place in town.places.values() for depth in range(DEPTH + 1))

    for cell, servers_there in population.items():
        inside = town.inside(cell)
        if any(town.climbs[number].home < len(cell) for number in inside):
            continue  # their home is a larger cell: nobody reads here
        assert len(town.kept(cell)) == min(servers_there, CAPACITY)
        assert set(town.kept(cell)) <= inside
        # Those ask that have a place in it, in a larger cell or in one of its quarters: not all there are.
        assert town.offers[cell] <= (1 + len(cell) + 4) * CAPACITY


@pytest.mark.parametrize("prefixes", [ONE_CITY, WORLD, LOPSIDED], ids=["one-city", "world", "lopsided"])
def test_the_younger_half_of_the_root_are_the_best_ranks_and_the_elders_stay(prefixes: list[str]):
    """So a sample is drawn by nobody's choice, but for those who were there first."""
    town = town_of(120, prefixes)
    elders = town.kept("")[:ELDERS]
    for place in places(1500, prefixes, seed=2):
        town.add(place)
    town.settle()
    by_rank = sorted(set(town.ranks) - set(elders), key=town.ranks.__getitem__)

    assert town.kept("")[:ELDERS] == elders
    # A few stand behind elders of a smaller cell who aren't elders of the root.
    assert len(set(by_rank[: CAPACITY - ELDERS]) & set(town.kept(""))) >= 0.9 * (CAPACITY - ELDERS)


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
    """1,500 arrive at once where ten were: all of them find the root empty."""
    town = town_of(10, LOPSIDED)
    for place in places(1500, LOPSIDED, seed=3):
        town.add_at(place, 0)

    assert town.settle() <= 24
    homes = Counter(town.places[number][: climb.home] for number, climb in town.climbs.items())
    assert max(homes.values()) < SPLIT
    assert town.offers[""] <= 5 * CAPACITY


@pytest.mark.parametrize("prefixes", [ONE_CITY, LOPSIDED], ids=["one-city", "lopsided"])
def test_keepers_who_disagree_confuse_few_servers_and_no_reader(prefixes: list[str]):
    """Of three keepers each misses a fifth of all records."""
    town = Town(keepers=3, lost=0.2)
    for place in places(400, prefixes):
        town.add(place)
    changes = [town.look_all() for _ in range(25)]

    assert max(changes[-5:]) <= 0.15 * 400
    for place in places(20, prefixes, seed=2):
        assert town.inside(place[: town.descend(place).depth]) <= town.found(place)
    town.lost = 0.0
    assert town.settle() <= 12


@pytest.mark.parametrize("captured", ["0", "00"])
def test_a_cell_whose_keepers_are_all_hostile_takes_nobody_out_of_the_others(captured: str):
    """They say that it is crowded and has no place, and show nothing."""
    town = town_of(700, WORLD)
    in_root = set(town.kept("")) & town.inside(captured)
    town.captured.add(captured)
    town.settle()

    assert in_root <= set(town.kept(""))
    for place in places(20, [captured], seed=2):
        assert len(town.found(place)) >= CAPACITY
    homes = {town.places[number][: town.climbs[number].home] for number in town.inside(captured)}
    assert captured not in homes
    for home in homes:  # below it, where all of them are found under one key
        assert set(town.kept(home)) >= {
            number for number in town.inside(home) if town.climbs[number].home <= len(home)
        }


def test_ranks_that_change_move_a_few_and_then_everybody_stays():
    """As in an hour in which all ranks are drawn anew, at one moment."""
    town = town_of(600, LOPSIDED)
    elders = {cell: kept[:ELDERS] for cell in town.cells if len(kept := town.kept(cell)) == CAPACITY}
    for number in town.ranks:
        town.ranks[number] = town.chance.random()

    assert town.settle() <= 24
    assert all(town.kept(cell)[:ELDERS] == kept for cell, kept in elders.items())


@pytest.mark.parametrize("rank", [None, 0.0], ids=["usual-ranks", "best-ranks"])
def test_a_flood_displaces_nobody_of_the_elders_and_nobody_at_home_elsewhere(rank: float | None):
    """400 hostile servers in one quarter: 60 honest ones stay in the root's sample, and in their cells."""
    town = town_of(60, ["0", "1"])
    for place in places(400, ["0"], seed=4):
        town.add(place, rank)
    town.settle()
    honest = set(range(60))

    assert honest <= set(town.kept(""))
    elsewhere = {number for number in honest if town.places[number].startswith("1")}
    assert elsewhere <= {member for number in elsewhere for member in town.found(town.places[number])}


def test_those_who_come_after_a_flood_are_found_where_they_live():
    """The hostile ones were first and have the best ranks: samples are theirs, the other quarter isn't."""
    town = Town()
    for place in places(400, ["0"], seed=4):
        town.add(place, 0.0)
    town.settle()
    late = [town.add(place) for place in places(60, ["1"], seed=5)]
    town.settle()

    assert not set(late) & set(town.kept(""))
    for number in late:
        assert set(late) <= town.found(town.places[number])
