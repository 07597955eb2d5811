"""A reader's way down: few reads, whatever the swarm's size, and an end whatever it is told."""

from __future__ import annotations

import itertools
import random

import pytest

from p2pinfer.swarm.cells.climb import CAPACITY, SPLIT
from p2pinfer.swarm.cells.descent import MOST_READS, Descent
from p2pinfer.swarm.cells.place import DEPTH
from tests.swarm.cells.town import Town, places


def reads_of(descent: Descent, free_from: int) -> list[int]:
    """The depths that are read where all cells shallower than `free_from` are crowded."""
    reads = []
    while (depth := descent.next_depth) is not None:
        reads.append(depth)
        descent.saw(depth, CAPACITY if depth < free_from else 10)
    return reads


def test_a_small_swarm_is_read_once():
    descent = Descent(remembered=9)

    assert reads_of(descent, free_from=0) == [0]
    assert descent.result == (0,)


@pytest.mark.parametrize("free_from", range(1, DEPTH + 1))
def test_the_own_cell_is_found_without_a_memory(free_from: int):
    descent = Descent()
    reads = reads_of(descent, free_from)

    assert len(reads) <= MOST_READS
    assert descent.depth == free_from
    assert descent.result[-1] == free_from
    assert set(descent.result) <= set(reads)


@pytest.mark.parametrize("free_from", range(1, DEPTH + 1))
def test_with_a_memory_three_reads_do(free_from: int):
    assert len(reads_of(Descent(remembered=free_from), free_from)) <= 3


@pytest.mark.parametrize("remembered", [-3, 0, 1, 9, DEPTH, 99])
@pytest.mark.parametrize("free_from", [1, 8, DEPTH, DEPTH + 1])
def test_a_memory_that_is_wrong_costs_a_read_or_two(remembered: int, free_from: int):
    descent = Descent(remembered)
    reads = reads_of(descent, free_from)

    assert len(reads) == len(set(reads)) <= MOST_READS + 2
    assert descent.depth == min(free_from, DEPTH)


def test_it_ends_whatever_it_is_told():
    """Every sequence of full and empty answers, and some at random with a memory."""
    for answers in itertools.product([0, SPLIT], repeat=MOST_READS + 1):
        descent = Descent()
        for answer in answers:
            if (depth := descent.next_depth) is None:
                break
            descent.saw(depth, answer)
        assert descent.next_depth is None
    chance = random.Random(1)
    for _ in range(500):
        descent = Descent(chance.randrange(20))
        for _ in range(MOST_READS + 3):
            if (depth := descent.next_depth) is None:
                break
            descent.saw(depth, chance.choice([0, 1000]))
        assert descent.next_depth is None


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
