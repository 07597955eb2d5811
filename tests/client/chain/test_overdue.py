"""The client asks repeatedly about an overdue step, and gives up only when a link or hop has failed."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.chain.diagnosis import Stuck, Working
from p2pinfer.client.chain.overdue import OverdueStep, patience_seconds

GIVE_UP_SECONDS = 30.0


def looks(verdict: Stuck | Working, *, overdue: float) -> list[float]:
    """The times of all looks until the step is given up, if every look finds the same."""
    step, times = OverdueStep(overdue, GIVE_UP_SECONDS), [overdue]
    while (next_look := step.next_look(verdict, times[-1])) is not None:
        assert next_look > times[-1]
        times.append(next_look)
    return times


@given(overdue=st.floats(0.5, 10.0))
def test_a_hop_that_is_working_is_waited_for_until_patience_ends(overdue: float):
    times = looks(Working(1), overdue=overdue)
    assert times[-2] < GIVE_UP_SECONDS <= times[-1] <= GIVE_UP_SECONDS * 1.25


@given(overdue=st.floats(0.5, 10.0))
def test_a_step_that_nothing_moves_is_given_up_after_a_second(overdue: float):
    """The looks are half a second apart, so that rounding can add one."""
    assert 0.99 < looks(Stuck(0), overdue=overdue)[-1] - overdue < 1.51


def test_a_step_that_moves_from_one_link_to_the_next_is_not_stuck():
    step = OverdueStep(1.0, GIVE_UP_SECONDS)
    assert all(step.next_look(Stuck(int(at) % 3), at) for at in range(1, 29))


def test_a_step_that_is_worked_on_in_between_is_not_stuck():
    step = OverdueStep(1.0, GIVE_UP_SECONDS)
    verdicts = [Stuck(0), Working(1)] * 7
    assert all(step.next_look(verdict, 1.0 + 2.0 * index) for index, verdict in enumerate(verdicts))


def tried(verdict: Working, patience: float, *, until: float) -> list[float]:
    """When another server is looked for, if every look finds the step at this hop, and nobody helps."""
    step, at, times = OverdueStep(0.5, GIVE_UP_SECONDS, patience), 0.5, []
    while at < until:
        if step.tries_patience(verdict, at):
            times.append(at)
        next_look = step.next_look(verdict, at)
        assert next_look is not None
        at = next_look
    return times


@given(patience=st.floats(1.2, 3.0))
def test_another_server_is_looked_for_when_patience_ends_and_then_ever_more_rarely(patience: float):
    """The hop says that it is working. It may say that for ever."""
    times = tried(Working(1), patience, until=25.0)
    assert 0.5 + patience - 0.02 <= times[0] <= 0.5 + patience + 0.1
    assert all(later - earlier >= patience / 2 for earlier, later in itertools.pairwise(times))
    assert len(times) <= 5


def test_a_step_that_moves_on_gives_each_hop_its_own_time():
    step = OverdueStep(0.5, GIVE_UP_SECONDS, 1.2)
    assert not step.tries_patience(Working(0), 0.5)
    assert not step.tries_patience(Working(1), 1.6)
    assert not step.tries_patience(Working(1), 2.7)
    assert step.tries_patience(Working(1), 2.9)


@given(expected=st.floats(0.0, 100.0), usual=st.floats(0.0, 100.0))
def test_patience_is_a_few_times_what_was_expected_or_is_usual(expected: float, usual: float):
    patience = patience_seconds(expected, usual)
    assert 1.0 <= patience <= 10.0
    assert patience >= min(10.0, max(6 * expected, 3 * usual))
