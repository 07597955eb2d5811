"""A hop that is slower than was expected of it, and than its neighbours, is seen after two or three steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.pace.judging import AtHop, RouteJudge, Slow

EXPECTED = 0.005


def judged(*steps: tuple[tuple[float, ...], float]) -> list[Slow]:
    """Judge steps: what each hop reports as computing, and what the step took."""
    judge = RouteJudge()
    for computes, seconds in steps:
        judge.add([AtHop(0.0, one, EXPECTED) for one in computes], seconds=seconds, way_seconds=0.01)
    return judge.slow()


def test_half_a_second_is_seen_after_three_steps():
    step = ((0.005, 0.5, 0.006), 0.515)
    assert judged(step, step) == []
    [slow] = judged(step, step, step)
    assert (slow.hop, slow.seconds, slow.is_reported, slow.is_queue) == (1, 0.5, True, False)


def test_five_seconds_are_seen_after_two():
    step = ((0.005, 5.0, 0.006), 5.02)
    assert [slow.hop for slow in judged(step, step)] == [1]


def test_one_slow_step_is_chance():
    fast, slow = ((0.005, 0.005), 0.012), ((0.005, 2.0), 2.01)
    assert judged(slow, fast, slow) == []


FAST, SLOW = ((0.005, 0.005), 0.012), ((0.005, 0.6), 0.615)


@pytest.mark.parametrize("fast_between", [1, 2, 3])
def test_a_hop_that_is_fast_between_slow_steps_is_seen_after_three_of_these(fast_between: int):
    steps = [*[SLOW, *[FAST] * fast_between] * 2, SLOW]
    assert judged(*steps[:-1]) == []
    [slow] = judged(*steps)
    assert (slow.hop, slow.is_reported, slow.is_queue) == (1, True, False)
    assert slow.seconds == pytest.approx((3 * 0.6 + 2 * fast_between * 0.005) / len(steps))


def test_it_may_hide_its_slow_steps_and_then_every_hop_may_be_the_one():
    hidden = ((0.005, 0.005), 0.615)
    assert [slow.is_reported for slow in judged(hidden, FAST, hidden, FAST, hidden)] == [False, False]


def test_slow_steps_that_are_far_apart_or_where_others_are_slow_too_are_chance():
    assert judged(SLOW, *[FAST] * 6, SLOW, *[FAST] * 6, SLOW) == []
    busy = ((0.4, 0.6), 1.01)
    assert judged(busy, FAST, busy, FAST, busy) == []


@given(busy=st.floats(1.0, 100.0), noise=st.floats(1.0, 3.9))
def test_where_everything_is_slower_than_said_nobody_is(busy: float, noise: float):
    """The machine is busy with other things, or its servers measured themselves when it wasn't."""
    step = ((EXPECTED * busy, EXPECTED * busy * noise, EXPECTED * busy), 3 * EXPECTED * busy * noise)
    assert judged(step, step, step) == []


@given(seconds=st.floats(0.1, 60.0))
def test_a_phone_that_says_how_slow_it_is_is_believed(seconds: float):
    judge = RouteJudge()
    for _ in range(3):
        judge.add(
            [AtHop(0.0, 0.004, 0.004), AtHop(0.0, 2 * seconds, seconds)], seconds=2 * seconds, way_seconds=0.0
        )
    assert judge.slow() == []


def test_a_hop_where_others_wait_is_busy():
    judge = RouteJudge()
    for _ in range(3):
        judge.add([AtHop(0.0, 0.005, EXPECTED), AtHop(0.4, 0.005, EXPECTED)], seconds=0.41, way_seconds=0.0)
    [slow] = judge.slow()
    assert slow.is_queue


def test_time_that_no_hop_reports_may_be_any_hops():
    step = ((0.0, 0.005, 0.005), 0.5)
    slow = judged(step, step, step)
    assert [one.hop for one in slow] == [0, 1, 2]
    assert not any(one.is_reported for one in slow)
    assert all(one.seconds == pytest.approx(0.48, abs=0.02) for one in slow)


def test_what_a_hop_says_of_its_time_counts_up_to_the_time_that_has_passed():
    """The last hop passes on what the others say, and could say anything."""
    step = ((4000.0, 0.005), 0.012)
    assert judged(step, step, step) == []


def test_nothing_is_compared_with_what_nobody_knows():
    judge = RouteJudge()
    for _ in range(3):
        judge.add([AtHop(0.0, 5.0, 0.0)], seconds=5.0, way_seconds=0.0)
    assert judge.slow() == []
