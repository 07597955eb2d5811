"""A reader's way down: few reads, whatever the swarm's size, and an end whatever it is told."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

import pytest

from p2pinfer.swarm.cells.climb import CAPACITY, SPLIT
from p2pinfer.swarm.cells.descent import FEW, MOST_READS, Descent
from p2pinfer.swarm.cells.place import DEPTH
from tests.swarm.cells.town import Town, places


def reads_of(descent: Descent, free_from: int) -> list[int]:
    """The depths that are read where all cells shallower than `free_from` are crowded."""
    return told(descent, {depth: CAPACITY if depth < free_from else 10 for depth in range(DEPTH + 1)})


def told(descent: Descent, records: Mapping[int, int]) -> list[int]:
    """The depths that are read where the cells have so many records: none where nothing is said."""
    reads = []
    while (depth := descent.next_depth) is not None:
        reads.append(depth)
        descent.saw(depth, records.get(depth, 0))
    return reads


@pytest.mark.parametrize("records", [0, 1, SPLIT - 1])
def test_a_small_swarm_is_read_once(records: int):
    descent = Descent()

    assert told(descent, {0: records}) == [0]
    assert descent.result == (0,)
    assert descent.depth == 0


@pytest.mark.parametrize("free_from", range(1, DEPTH + 1))
def test_the_own_cell_is_found_without_a_memory(free_from: int):
    descent = Descent()
    reads = reads_of(descent, free_from)

    assert len(reads) <= MOST_READS
    assert descent.depth == free_from
    assert {0, free_from - 1, free_from} <= set(descent.result)
    assert sorted(reads) == list(descent.result)


@pytest.mark.parametrize("remembered", range(1, DEPTH + 1))
def test_a_small_root_is_not_believed_by_those_who_remember_a_larger_swarm(remembered: int):
    """The root's keepers show thirty of their own. The cell that the reader remembers is still there."""
    descent = Descent(remembered)
    reads = told(descent, {remembered - 1: CAPACITY, remembered: 70, 0: 30})

    assert reads == list(dict.fromkeys([0, remembered, remembered - 1]))
    assert descent.depth == remembered
    assert remembered in descent.result


def test_a_small_root_does_not_hide_that_the_own_cell_has_split_or_merged():
    split, merged = Descent(4), Descent(4)
    told(split, {0: 30, 4: CAPACITY, 5: CAPACITY, 6: 40})
    told(merged, {0: 30, 3: 40})

    assert split.depth == 6
    assert merged.depth == 3


def test_a_swarm_that_has_become_small_is_believed_after_two_reads_more():
    descent = Descent(9)

    assert told(descent, {0: 30}) == [0, 9, 8]
    assert descent.depth == 0
    assert told(Descent(descent.depth), {0: 30}) == [0]


@pytest.mark.parametrize("remembered", [5, 9])
def test_a_cell_that_has_less_than_a_smaller_one_in_it_hides_some(remembered: int):
    """The keepers of the cell above show a few of their own: it doesn't become the reader's own cell."""
    root_and_home = {0: CAPACITY, remembered: 40}
    descent = Descent(remembered)
    told(descent, {**root_and_home, remembered - 1: 5})

    assert descent.depth == remembered
    assert remembered in descent.result


@pytest.mark.parametrize("free_from", range(1, DEPTH + 1))
def test_with_a_memory_three_reads_do(free_from: int):
    assert len(reads_of(Descent(remembered=free_from), free_from)) <= 3


@pytest.mark.parametrize("remembered", [-3, 0, 1, 9, DEPTH, 99])
@pytest.mark.parametrize("free_from", [1, 8, DEPTH, DEPTH + 1])
def test_a_memory_that_is_wrong_costs_a_read_or_two(remembered: int, free_from: int):
    descent = Descent(remembered)
    reads = reads_of(descent, free_from)

    assert len(reads) == len(set(reads)) <= MOST_READS
    assert descent.depth == min(free_from, DEPTH)


@pytest.mark.parametrize(
    ("records", "is_sparse"),
    [({0: SPLIT - 1}, False), ({0: CAPACITY, 1: FEW}, False), ({0: CAPACITY, 1: FEW - 1}, True),
     ({0: CAPACITY}, True), ({}, False)],
    ids=["small-swarm", "enough", "few", "hidden", "empty-swarm"],
)  # fmt: skip
def test_the_cells_beside_are_read_where_the_own_one_shows_few(records: dict[int, int], is_sparse: bool):
    descent = Descent(1)
    told(descent, records)

    assert descent.is_sparse is is_sparse


def test_it_ends_whatever_it_is_told():
    """Every sequence of full and empty answers, and many others, with memories and without."""
    chance = random.Random(1)
    sequences = [*itertools.product([0, SPLIT], repeat=MOST_READS)]
    sequences += [tuple(chance.choice([0, 1, 40, 1000]) for _ in range(MOST_READS)) for _ in range(2000)]
    for answers in sequences:
        descent = Descent(chance.choice([None, *range(20)]))
        for answer in answers:
            if (depth := descent.next_depth) is None:
                break
            descent.saw(depth, answer)
        assert descent.next_depth is None
        assert 0 <= descent.depth <= DEPTH


def test_a_reader_finds_everybody_of_its_cell_and_samples_of_the_rest():
    town = Town()
    for place in places(3000, ["03", "12", "213"]):
        town.add(place)
    town.settle()
    for place in places(20, ["03", "12", "213"], seed=2):
        descent = town.descend(place)
        cell = place[: descent.depth]
        assert {number for number, at in town.places.items() if at.startswith(cell)} <= town.found(place)
        assert set(town.kept("")) <= town.found(place)
        assert town.reads <= MOST_READS
