"""Who gives way when there is too much of something."""

from __future__ import annotations

import pytest

from p2pinfer.fairness.crowd import Crowd
from p2pinfer.fairness.sources import Source

A, B = Source("a"), Source("b")


def test_the_first_of_the_source_with_most_goes():
    crowd: Crowd[str] = Crowd()
    for name, source in (("b1", B), ("a1", A), ("a2", A)):
        crowd.add(name, source)
    assert crowd.first_to_go() == "a1"


def test_of_sources_with_as_much_who_came_first_of_all_goes():
    crowd: Crowd[str] = Crowd()
    crowd.add("b1", B)
    crowd.add("a1", A)
    assert crowd.first_to_go() == "b1"


def test_amounts_count_and_not_heads():
    crowd: Crowd[str] = Crowd()
    for name in ("a1", "a2", "a3"):
        crowd.add(name, A, 1)
    crowd.add("b1", B, 1)
    crowd.grow("b1", 5)
    assert crowd.first_to_go() == "b1"
    assert (crowd.amount, crowd.of_source(A), crowd.of_source(B), len(crowd)) == (9, 3, 6, 4)


def test_who_comes_anew_is_the_newest():
    crowd: Crowd[str] = Crowd()
    for name in ("a1", "a2", "a1"):
        crowd.add(name, A)
    assert crowd.first_to_go() == "a2" and len(crowd) == 2


def test_who_has_gone_leaves_nothing():
    crowd: Crowd[str] = Crowd()
    crowd.add("a1", A, 7)
    crowd.remove("a1")
    crowd.remove("a1")
    assert crowd.amount == crowd.of_source(A) == len(crowd) == 0
    with pytest.raises(LookupError):
        crowd.first_to_go()
