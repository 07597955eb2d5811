"""The size of a tree: counted where the root has everybody, and else told from the ranks there."""

from __future__ import annotations

import heapq
import random

import pytest

from p2pinfer.swarm.cells.climb import CAPACITY
from p2pinfer.swarm.cells.estimate import RANKS, Size, size_of

ELDERS = CAPACITY // 2


def kept(ranks: list[float]) -> list[float]:
    """What a key keeps of servers that came in this order: elders, and the best of the others."""
    elders, others = ranks[:ELDERS], ranks[ELDERS:]
    return [*elders, *heapq.nsmallest(CAPACITY - ELDERS, others)]


def drawn(servers: int, seed: int, *, late_share: float = 0.0) -> list[float]:
    """The root's ranks of so many servers. Some others of the best haven't asked for their place yet."""
    chance = random.Random(seed)
    elders = [chance.random() for _ in range(min(ELDERS, servers))]
    others, best, rank = servers - len(elders), [], 0.0
    while others > 0 and len(best) < CAPACITY - ELDERS:  # order statistics, one after the other
        rank += (1.0 - rank) * (1.0 - chance.random() ** (1.0 / others))
        others -= 1
        if chance.random() >= late_share:
            best.append(rank)
    return [*elders, *best]


def test_a_swarm_of_nobody_is_counted():
    assert size_of([], 0) == Size(about=0, least=0, most=0)


@pytest.mark.parametrize("servers", [1, 95, 96, CAPACITY - 1])
def test_a_swarm_that_the_root_has_room_for_is_counted(servers: int):
    size = size_of(drawn(servers, 1), servers)

    assert (size.about, size.is_counted) == (servers, True)


@pytest.mark.parametrize("servers", [10**2, 10**3, 10**4, 10**5, 10**6])
def test_the_range_has_the_number_of_a_drawn_population(servers: int):
    chance = random.Random(servers)
    root = kept([chance.random() for _ in range(servers)])

    size = size_of(root, len(root))

    assert size.least <= servers <= size.most
    assert size.most <= 2 * size.least


@pytest.mark.parametrize("late_share", [0.0, 0.06], ids=["all-in-time", "some-late"])
@pytest.mark.parametrize("servers", [150, 300, 10**3, 10**4, 10**6])
def test_the_ranges_are_right_as_often_as_they_say(servers: int, late_share: float):
    sizes = [size_of(drawn(servers, seed, late_share=late_share), CAPACITY) for seed in range(100)]

    assert sum(size.least <= servers <= size.most for size in sizes) >= 92  # of 100: 95 on average
    mean = sum(size.about for size in sizes) / len(sizes)
    assert mean == pytest.approx(servers, rel=0.12)
    assert all(not size.is_counted for size in sizes)


def test_more_keepers_make_no_other_number():
    """Each has other elders; together they are a sample that has the best ranks once."""
    chance = random.Random(3)
    ranks = [chance.random() for _ in range(5000)]
    one, other = kept(ranks), kept(ranks[::-1])

    assert size_of({*one, *other}, len({*one, *other})) == size_of(one, len({*one, *other}))


@pytest.mark.parametrize("paid_share", [0.01, 0.1, 0.3, 1.0])
def test_who_pays_for_ranks_counts_as_all_the_servers_paid_for(paid_share: float):
    """A liar announces the best of his identities only. It is as if all were servers, and no more."""
    honest, chance = 10_000, random.Random(5)
    paid = int(honest * paid_share)
    honest_ranks = [chance.random() for _ in range(honest)]
    bought = heapq.nsmallest(CAPACITY, [chance.random() for _ in range(paid)])

    size = size_of(kept([*honest_ranks, *bought]), CAPACITY)

    assert size.least <= honest + paid <= size.most
    assert size.about <= 1.5 * (honest + paid)


def test_a_root_that_hides_servers_is_no_small_swarm():
    """They were found in smaller cells. A few are on their way up."""
    assert size_of([0.5] * 9, 300) == Size(about=300, least=300, most=None)
    assert size_of([0.5] * 90, 95).is_counted
    assert not size_of([0.5] * 90, 120).is_counted


def test_there_are_at_least_as_many_as_were_seen():
    root = drawn(200, 7)

    size = size_of(root, 290)

    assert size.least == 290 and size.about >= 290 and size.most >= size.about


@pytest.mark.parametrize("rank", [0.0, 2.0**-53, 0.5, 1.0 - 2.0**-53])
def test_whatever_the_ranks_are_there_is_a_range(rank: float):
    size = size_of([rank] * CAPACITY, CAPACITY)

    assert CAPACITY <= size.least <= size.about <= size.most
    assert size.most > RANKS
