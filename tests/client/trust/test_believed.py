"""What a server announces is believed as far as others reach it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.trust.believed import Belief, Measure, most_room
from p2pinfer.types import LayerSeconds

SECONDS = st.floats(1e-4, 1.0)


@given(others=st.lists(SECONDS, min_size=1, max_size=30), announced=st.floats(1e-12, 1.0))
def test_nobody_counts_as_much_faster_than_the_best_of_the_others(others: list[float], announced: float):
    believed = Measure.of([], [*others, announced]).believed(announced)
    assert believed >= min(0.9 * min(others), announced)
    assert believed >= announced


@given(known=st.lists(SECONDS, min_size=1, max_size=10), announced=st.floats(1e-12, 1.0))
def test_servers_that_have_worked_are_the_measure_where_there_are_some(known: list[float], announced: float):
    """However many others say that they are faster."""
    boasters = [1e-9] * 100
    assert Measure.of(known, boasters).believed(announced) >= min(0.9 * min(known), announced)


@pytest.mark.parametrize("boasters", [1, 2, 4])
def test_a_quarter_of_all_can_boast_without_being_the_measure(boasters: int):
    honest = [0.001] * (4 * boasters)
    assert Measure.of([], honest + [1e-9] * boasters).believed(1e-9) == pytest.approx(0.001)


@given(slow=st.floats(0.01, 10.0))
def test_a_slow_server_is_believed(slow: float):
    assert Measure.of([0.001], [0.001, 0.002, slow]).believed(slow) == slow


def test_who_says_that_it_is_faster_is_tried_first_unless_nobody_can_be_that_fast():
    measure = Measure.of([], [0.01, 0.01, 0.005, 0.001, 1e-9])
    assert measure.believed(0.001) < measure.believed(0.005) <= 0.005
    assert measure.believed(1e-9) == 0.001


@pytest.mark.parametrize("alone", [[], [0.0], [1e-9]], ids=["nobody", "unknown", "itself"])
def test_where_there_are_no_others_all_is_believed(alone: list[float]):
    assert Measure.of([], alone).believed(1e-9) == 1e-9
    assert Measure.of([], alone).believed(0.0) == 0.0


def test_room_counts_as_much_as_others_have():
    belief = Belief(most_room=most_room([1000, 1000, 1000, 2**40]))
    assert belief.room(2**40) == 1500
    assert belief.room(500) == 500


def test_the_price_of_a_context_stays_what_is_announced():
    """A server that says long texts are dear is asked less."""
    belief = Belief(decode=Measure.of([0.001], []))
    decode, _ = belief.speed(LayerSeconds(1e-9, 0.5), LayerSeconds())
    assert decode == LayerSeconds(pytest.approx(0.001), 0.5)
