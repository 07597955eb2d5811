"""In which order those get something who wait for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.fairness.turns import Turns


def test_who_comes_alone_waits_for_nobody():
    turns: Turns[str] = Turns()
    assert turns.wait("a", "home", 100) == 0


def test_a_large_wish_is_left_what_it_needs_by_those_who_take_little():
    turns: Turns[str] = Turns()
    turns.served("many", 1000)
    turns.wait("large", "one", 500)
    assert turns.wait("small", "many", 1) == 500
    turns.leave("large")
    assert turns.wait("small", "many", 1) == 0


def test_the_network_that_was_served_least_comes_first_however_many_wait_of_another():
    turns: Turns[str] = Turns()
    for number in range(50):
        turns.wait(f"crowd {number}", "crowd", 8)
    assert turns.wait("newcomer", "home", 20) == 8  # who was there first, of networks that have had the same
    turns.served("crowd", 8)
    turns.leave("crowd 0")
    assert turns.wait("newcomer", "home", 20) == 0


def test_of_networks_that_have_had_the_same_the_one_that_needs_least_comes_first():
    turns: Turns[str] = Turns()
    for number in range(16):
        turns.wait(f"s{number}", f"n{number}", 512)
    assert turns.wait("newcomer", "home", 20) == 0


def test_a_network_that_pauses_earns_nothing():
    turns: Turns[str] = Turns()
    turns.served("idle", 10)
    for _ in range(10):
        turns.served("busy", 100)
    turns.wait("b", "busy", 10)
    turns.wait("i", "idle", 200)
    turns.served("idle", 200)
    turns.leave("i")
    assert turns.wait("i", "idle", 1) == 10


def test_who_waits_no_more_is_forgotten():
    turns: Turns[str] = Turns()
    turns.wait("a", "home", 1)
    turns.wait("a", "elsewhere", 1)
    turns.leave("a")
    turns.leave("a")
    assert len(turns) == 0


wishes = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 512)), min_size=1, max_size=20)


@given(wishes)
def test_everybody_gets_a_turn_and_nobody_waits_for_those_behind(asked):
    """Somebody is always first; and when whoever is first takes what it needs, all come to their turn."""
    turns: Turns[int] = Turns()
    left = dict(enumerate(asked))
    while left:
        before = {name: turns.wait(name, network, amount) for name, (network, amount) in left.items()}
        before = {name: turns.wait(name, network, amount) for name, (network, amount) in left.items()}
        (first,) = [name for name, amount in before.items() if amount == 0]
        assert sorted(before.values()) == sorted(set(before.values()))
        network, amount = left.pop(first)
        turns.leave(first)
        turns.served(network, amount)
