"""Whom a member asks."""

from __future__ import annotations

import random

from p2pinfer.swarm.gossip.neighbours import BARRED_SECONDS, DRAWN, ELDERS, STAY_SECONDS, Neighbours
from p2pinfer.types import PeerId

FRIENDS = [PeerId(f"friend {n}") for n in range(2)]
CROWD = [PeerId(f"one of a crowd {n}") for n in range(50)]


class Clock:
    """Seconds that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def some(clock: Clock) -> Neighbours:
    """Neighbours whose lots are always the same."""
    return Neighbours(clock, random.Random(7).random)


def test_alone_nobody_is_asked() -> None:
    assert some(Clock()).next([], []) is None


def test_each_of_the_circle_is_asked_in_turn() -> None:
    clock, asked = Clock(), []
    neighbours = some(clock)
    for _ in range(2 * (len(FRIENDS) + DRAWN)):
        asked.append(neighbours.next(FRIENDS, CROWD))
        clock.now += 10
    assert all(asked.count(peer) == 2 for peer in set(asked))
    assert len(neighbours.circle(FRIENDS, CROWD)) == len(FRIENDS) + DRAWN <= ELDERS + DRAWN


def test_a_crowd_does_not_keep_a_member_from_those_it_has_known_longest() -> None:
    clock = Clock()
    neighbours = some(clock)
    for _ in range(100):
        assert set(FRIENDS) < set(neighbours.circle(FRIENDS, CROWD))
        clock.now += STAY_SECONDS


def test_those_drawn_change_so_that_one_honest_member_in_a_crowd_is_asked_some_day() -> None:
    clock = Clock()
    neighbours, honest, asked = some(clock), PeerId("honest"), set()
    for _ in range(100):
        asked.update(neighbours.circle(CROWD[:3], [*CROWD, honest]))
        clock.now += STAY_SECONDS
    assert honest in asked


def test_a_silent_crowd_does_not_take_the_turns_of_a_friend() -> None:
    clock = Clock()
    neighbours, asked = some(clock), []
    for _ in range(30):
        one = neighbours.next([FRIENDS[0], *CROWD], CROWD)
        assert one is not None
        asked.append(one)
        if one in CROWD:
            neighbours.bar(one)
        clock.now += 4
    assert asked.count(FRIENDS[0]) >= 30 // (ELDERS + DRAWN)


def test_they_do_not_change_all_the_time() -> None:
    """A connection costs more bytes than a question."""
    clock = Clock()
    neighbours = some(clock)
    first = neighbours.circle([], CROWD)
    clock.now += STAY_SECONDS / 2 - 1
    assert neighbours.circle([], CROWD) == first


def test_one_of_no_use_is_left_alone_for_a_while_and_another_has_its_place() -> None:
    clock = Clock()
    neighbours = some(clock)
    for peer in neighbours.circle(FRIENDS, CROWD):
        neighbours.bar(peer)
    others = neighbours.circle([*FRIENDS, *CROWD], CROWD)
    assert len(others) == ELDERS + DRAWN and not set(FRIENDS) & set(others)
    clock.now += BARRED_SECONDS + 1
    assert neighbours.circle(FRIENDS, CROWD)[:2] == FRIENDS
