"""Waits grow up to a bound, and are spread by chance between nothing and that bound."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer import backoff
from p2pinfer.backoff import Backoff, jittered

CHANCE = st.floats(0.0, 1.0, exclude_max=True)
SECONDS = st.floats(0.001, 100.0)


@given(first=SECONDS, most=SECONDS, failures=st.integers(-1, 10**6), chance=CHANCE)
def test_a_wait_is_never_negative_and_never_longer_than_the_bound(first, most, failures, chance):
    waits = Backoff(first_seconds=first, most_seconds=most)
    assert 0.0 <= waits.seconds(failures, lambda: chance) <= waits.longest_seconds(failures) <= most


@given(first=SECONDS, most=SECONDS, failures=st.integers(1, 100))
def test_bounds_grow_with_failures(first, most, failures):
    waits = Backoff(first_seconds=first, most_seconds=most)
    assert waits.longest_seconds(failures) <= waits.longest_seconds(failures + 1)


@given(seconds=SECONDS, chance=CHANCE)
def test_a_period_is_at_most_a_fifth_off(seconds, chance):
    assert 0.8 * seconds <= jittered(seconds, lambda: chance) <= 1.2 * seconds * (1 + 1e-9)


def test_the_examples_are_true():
    assert doctest.testmod(backoff).failed == 0
