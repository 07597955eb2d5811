"""A slow hop is different from a hop that was slow once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.pace.hop_pace import HopPace

SECONDS = st.floats(0.0001, 60.0)


def paced(seconds: list[float]) -> HopPace:
    pace = HopPace()
    for value in seconds:
        pace.add(value)
    return pace


USUAL = st.floats(0.001, 1.0)


@given(usual=USUAL, noise=st.lists(st.floats(0.9, 2.5), max_size=100))
def test_a_hop_whose_steps_vary_is_not_slow(usual: float, noise: list[float]):
    """Up to two and a half times the usual time is noise."""
    assert paced([usual] * 16 + [usual * factor for factor in noise]).slow_seconds is None


@given(usual=USUAL, factor=st.floats(10, 100), times=st.integers(1, 7))
def test_a_hop_that_was_slow_for_a_few_steps_is_not_slow(usual: float, factor: float, times: int):
    assert paced([usual] * 20 + [usual * factor] * times).slow_seconds is None


@given(usual=USUAL, factor=st.floats(10, 100), times=st.integers(8, 200))
def test_a_hop_that_stays_slow_is_slow_for_as_long_as_it_stays_so(usual: float, factor: float, times: int):
    """Slow steps don't become the usual ones, however long they last."""
    pace = paced([usual] * 20 + [usual * factor] * times)
    assert pace.slow_seconds == pytest.approx(usual * factor)
    pace.add(usual)
    assert pace.slow_seconds is None


@given(seconds=st.lists(SECONDS, max_size=15))
def test_nobody_is_slow_before_there_is_anything_to_compare_with(seconds: list[float]):
    assert paced(seconds).slow_seconds is None
