"""The client asks repeatedly about an overdue step, and gives up only when a link or hop has failed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.chain.diagnosis import Stuck, Working
from p2pinfer.client.chain.overdue import OverdueStep

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
