"""Deadlines follow the times of earlier steps, and before there are any what was expected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.chain.deadlines import FIRST_SECONDS, StepTimes
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


@given(expected=st.floats(0.0001, 100.0), kind=st.sampled_from([StepKind.DECODE, StepKind.PREFILL]))
def test_a_first_step_gets_a_few_times_what_was_expected_and_never_more_than_without(
    expected: float, kind: StepKind
):
    overdue = StepTimes().overdue_seconds(kind, tokens=1, expected_seconds=expected)
    assert overdue == pytest.approx(min(max(4 * expected, 0.5), FIRST_SECONDS))


@given(steps=st.lists(SECONDS, min_size=1, max_size=50), expected=st.floats(0.0001, 0.3))
def test_hops_are_asked_soon_however_slow_their_steps_have_been(steps: list[float], expected: float):
    """A route that was slow from the beginning doesn't earn itself time."""
    times = decode_times(steps)
    assert times.overdue_seconds(StepKind.DECODE, tokens=1, expected_seconds=expected) <= FIRST_SECONDS
