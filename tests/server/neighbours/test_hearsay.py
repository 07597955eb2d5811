"""What others announce of their ways tells who is probably near, and nothing else."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import count

import pytest

from p2pinfer.identity import Identity
from p2pinfer.server.neighbours.hearsay import by_hearsay
from p2pinfer.server.neighbours.notes import PINGED_AT_ONCE, Notes
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import PeerId, Span
from tests.swarm.conftest import describe

IDENTITY = Identity.ephemeral()
US = PeerId("us")


def record(name: str, start: int = 10, end: int = 20, **ways: float) -> Announcement:
    to = {PeerId(peer): seconds for peer, seconds in ways.items()}
    return describe(IDENTITY, peer_id=PeerId(name), layers=Span(start, end), next_hop_seconds=to)


def test_two_ways_one_behind_the_other_are_a_guess_for_the_direct_one():
    """Over somebody measured, over somebody who measured us, or over both."""
    peer = record("peer", known=0.01, far=0.2)
    after = record("known", beyond=0.03)
    told = record("teller", us=0.05, other=0.01)
    guesses = by_hearsay([peer, after, told], US, {PeerId("known"): 0.02})
    del guesses[US]

    assert guesses == pytest.approx(
        {"peer": 0.03, "known": 0.02, "far": 0.23, "beyond": 0.05, "teller": 0.05, "other": 0.06}
    )


def test_without_anybody_in_common_nothing_is_known():
    assert by_hearsay([record("stranger", other=0.01)], US, {PeerId("known"): 0.02}) == {}


def test_a_liar_gets_a_place_in_half_of_a_round_and_in_no_announcement():
    """It says that it is next to everybody. It is asked, and then it is known."""
    honest = [record(f"{index}") for index in range(100)]
    liars = [record(f"liar {index}", **{one.peer_id: 1e-6 for one in honest[:20]}) for index in range(100)]
    chance, asked = random.Random(1).random, []
    notes = Notes(record("us", 0, 10))
    for at in (0.0, 30.0):
        notes.see([*honest, *liars], at)
        asked = notes.whom_to_measure(at, chance)
        for one in asked:
            notes.measured(one.peer_id, 0.3 if one.peer_id.startswith("liar") else 0.01, at)

    assert sum(one.peer_id.startswith("liar") for one in asked) < PINGED_AT_ONCE
    assert min(notes.nearest(30.0).values()) == 0.01
    assert set(notes.nearest(30.0).values()) <= {0.01, 0.3}


@pytest.mark.parametrize("seed", [1, 2])
def test_neighbours_of_a_large_swarm_find_each_other_sooner_than_by_luck(seed: int):
    """Thirty servers before eighty others, in ten towns."""
    with_hearsay, by_luck = (excess(seed, listen=listen, rounds=5) for listen in (True, False))
    assert with_hearsay < by_luck * 0.9
    assert excess(seed, listen=True, rounds=12) < 1.1


def excess(seed: int, *, listen: bool, rounds: int) -> float:
    """How much longer the eight shortest announced ways are than the eight shortest there are, on average."""
    chance, names = random.Random(seed), (PeerId(f"{number}") for number in count())
    towns = [(chance.random(), chance.random()) for _ in range(10)]
    firsts = [replace(record("", 0, 10), peer_id=next(names)) for _ in range(30)]
    seconds = [replace(record("", 10, 30), peer_id=next(names)) for _ in range(80)]
    at = {one.peer_id: chance.choice(towns) for one in (*firsts, *seconds)}
    line = {one.peer_id: chance.uniform(0.002, 0.01) for one in (*firsts, *seconds)}

    def distance(one: PeerId, other: PeerId) -> float:
        return 0.1 * math.dist(at[one], at[other]) + line[one] + line[other]

    notes = [Notes(one) for one in firsts]
    for now in range(0, 30 * rounds, 30):
        said = [
            replace(one, next_hop_seconds=its.nearest(now)) for one, its in zip(firsts, notes, strict=True)
        ]
        for one, its in zip(firsts, notes, strict=True):
            its.see([*(said if listen else firsts), *seconds], now)
            for other in its.whom_to_measure(now, chance.random):
                its.measured(other.peer_id, distance(one.peer_id, other.peer_id), now)
    found = sum(sum(list(its.nearest(now).values())[:8]) for its in notes)
    best = sum(sum(sorted(distance(one.peer_id, other.peer_id) for other in seconds)[:8]) for one in firsts)
    return found / best
