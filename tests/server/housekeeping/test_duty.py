"""Two limits become one duty: a share of the processors, and watts."""

from __future__ import annotations

import pytest

from p2pinfer.owner.metering.power_cap import MIN_DUTY
from p2pinfer.owner.policy.verdict import Limits
from p2pinfer.server.housekeeping.duty import Machine, Measured, decide_duty

FOUR_CORES = Machine(processors=4, threads=4, idle_watts=20.0, watts_per_core=10.0)


def measured(watts: float | None = None, seconds: float = 5.0, busy_seconds: float = 5.0) -> Measured:
    return Measured(seconds=seconds, watts=watts, busy_seconds=busy_seconds)


def test_without_limits_the_engine_computes_all_the_time():
    assert decide_duty(0.3, Limits(), FOUR_CORES, measured(watts=500.0)).duty == 1.0


def test_a_share_of_the_processors_is_a_duty():
    assert decide_duty(None, Limits(cpu_share=0.25), FOUR_CORES, measured()).duty == 0.25


def test_a_new_cap_begins_with_an_estimate():
    """20 W idle and 60 W at full speed: 40 W is half of the time."""
    decision = decide_duty(None, Limits(watts=40.0), FOUR_CORES, measured(watts=60.0))
    assert (decision.duty, decision.capped_duty) == (0.5, 0.5)


def test_too_many_watts_lower_the_duty_and_the_share_bounds_it():
    decision = decide_duty(0.5, Limits(watts=40.0), FOUR_CORES, measured(watts=50.0, busy_seconds=2.5))
    assert decision.duty == decision.capped_duty == pytest.approx(0.5 * 0.95 * 40 / 50)
    assert decide_duty(0.5, Limits(watts=40.0, cpu_share=0.1), FOUR_CORES, measured(watts=39.0)).duty == 0.1


@pytest.mark.parametrize("unclear", [measured(watts=None), measured(watts=90.0, seconds=1.0)])
def test_what_was_not_measured_long_enough_changes_nothing(unclear):
    decision = decide_duty(0.5, Limits(watts=40.0), FOUR_CORES, unclear)
    assert (decision.duty, decision.capped_duty) == (0.5, 0.5)


def test_a_share_that_is_lifted_again_gives_the_capped_duty_back():
    held = decide_duty(0.5, Limits(watts=40.0, cpu_share=0.2), FOUR_CORES, measured(watts=None))
    assert held.duty == 0.2
    assert decide_duty(held.capped_duty, Limits(watts=40.0), FOUR_CORES, measured(watts=None)).duty == 0.5


def test_a_cap_that_is_exceeded_at_the_least_duty_is_trouble():
    decision = decide_duty(MIN_DUTY, Limits(watts=40.0), FOUR_CORES, measured(watts=70.0))
    assert decision.trouble is not None and "40 W can't be held: the machine draws 70 W" in decision.trouble
    assert decide_duty(MIN_DUTY, Limits(watts=40.0), FOUR_CORES, measured(watts=39.0)).trouble is None
