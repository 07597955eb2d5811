"""Deadlines follow the times of earlier steps; a slow hop is different from a hop that was slow once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.chain.deadlines import FIRST_SECONDS, HopPace, StepTimes
from p2pinfer.wire.step_kind import StepKind

SECONDS = st.floats(0.0001, 60.0)


def decode_times(seconds: list[float]) -> StepTimes:
    times = StepTimes()
    for value in seconds:
        times.add(StepKind.DECODE, tokens=1, seconds=value)
    return times


@given(kind=st.sampled_from(StepKind), tokens=st.integers(1, 512))
def test_a_kind_of_step_that_was_never_seen_gets_a_fixed_time(kind: StepKind, tokens: int):
    assert StepTimes().overdue_seconds(kind, tokens=tokens) == FIRST_SECONDS


def test_a_fork_has_no_tokens_and_changes_no_other_deadline():
    times = StepTimes()
    times.add(StepKind.FORK, tokens=0, seconds=9.0)
    assert times.overdue_seconds(StepKind.FORK, tokens=0) == FIRST_SECONDS
    assert times.overdue_seconds(StepKind.PREFILL, tokens=1) == FIRST_SECONDS


@given(
    seconds=st.lists(SECONDS, min_size=1, max_size=50),
    kind=st.sampled_from(StepKind),
    tokens=st.integers(1, 512),
)
def test_no_deadline_is_shorter_than_a_moment_or_longer_than_a_person_waits(
    seconds: list[float], kind: StepKind, tokens: int
):
    times = StepTimes()
    for value in seconds:
        times.add(kind, tokens=tokens, seconds=value)
    assert 0.5 <= times.overdue_seconds(kind, tokens=tokens) <= 10.0


@given(usual=st.floats(0.001, 3.0), steps=st.integers(1, 100))
def test_steady_steps_are_not_overdue_before_they_take_several_times_as_long(usual: float, steps: int):
    overdue = decode_times([usual] * steps).overdue_seconds(StepKind.DECODE, tokens=1)
    assert overdue >= min(3 * usual, 10.0) - 1e-9


@given(before=SECONDS, after=SECONDS)
def test_the_deadline_adapts_to_a_route_that_has_become_another(before: float, after: float):
    """Old steps lose their weight."""
    settled = decode_times([before] * 20 + [after] * 200).overdue_seconds(StepKind.DECODE, tokens=1)
    assert settled == pytest.approx(min(max(3 * after, 0.5), 10.0), rel=0.05)


@given(decode=st.lists(SECONDS, max_size=20), prefill=st.lists(SECONDS, max_size=20))
def test_prompts_and_single_tokens_are_measured_apart(decode: list[float], prefill: list[float]):
    mixed = StepTimes()
    for value in prefill:
        mixed.add(StepKind.PREFILL, tokens=128, seconds=value)
    for value in decode:
        mixed.add(StepKind.DECODE, tokens=1, seconds=value)
    alone = decode_times(decode).overdue_seconds(StepKind.DECODE, tokens=1)
    assert mixed.overdue_seconds(StepKind.DECODE, tokens=1) == alone


@given(per_token=st.floats(0.0001, 0.01))
def test_a_longer_piece_of_a_prompt_gets_more_time(per_token: float):
    times = StepTimes()
    for _ in range(10):
        times.add(StepKind.PREFILL, tokens=128, seconds=128 * per_token)
    assert times.overdue_seconds(StepKind.PREFILL, tokens=512) >= times.overdue_seconds(
        StepKind.PREFILL, tokens=64
    )


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
