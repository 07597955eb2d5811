"""A power cap is held on machines of unknown behaviour, without swinging."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.owner.metering.power_cap import MIN_DUTY, first_duty, next_duty

idles = st.floats(0, 200)
slopes = st.floats(1, 400)
duties = st.floats(MIN_DUTY, 1)
rooms = st.floats(0.1, 1.5)
"""Where the cap lies between what the machine draws without us (0) and with us at full speed (1)."""


class Machine:
    """Draws `idle` watts, and `slope` more for an engine that computes all the time."""

    def __init__(self, idle: float, slope: float, *, noise: float = 0.0) -> None:
        self._idle, self._slope, self._noise = idle, slope, noise
        self._random = random.Random(1)

    def watts(self, duty: float) -> float:
        factor = 1 + self._noise * (2 * self._random.random() - 1)
        return (self._idle + self._slope * duty) * factor


@given(idle=idles, slope=slopes, room=rooms, duty=duties)
@settings(max_examples=100)
def test_the_cap_is_reached_and_never_left_again(idle, slope, room, duty):
    """From above, from below: into the band below the cap, and there it stays."""
    machine, cap = Machine(idle, slope), idle + slope * room
    watts = []
    for _ in range(80):
        watts.append(machine.watts(duty))
        duty = next_duty(duty, watts=watts[-1], used=duty, cap=cap)
    settled = watts[50:]
    assert max(settled) <= cap
    assert min(settled) >= 0.9 * cap or duty == 1
    assert max(settled) == min(settled)
    falls = [first > second for first, second in itertools.pairwise(watts) if first != second]
    assert len(set(falls)) <= 1, "it goes one way only"


@given(idle=idles, slope=slopes, room=st.floats(0.2, 0.9), duty=duties, noise=st.floats(0, 0.1))
@settings(max_examples=40)
def test_where_watts_are_noisy_their_mean_is_below_the_cap(idle, slope, room, duty, noise):
    machine, cap = Machine(idle, slope, noise=noise), idle + slope * room
    watts = []
    for _ in range(300):
        watts.append(machine.watts(duty))
        duty = next_duty(duty, watts=watts[-1], used=duty, cap=cap)
    assert statistics.fmean(watts[50:]) <= cap


def test_while_there_is_little_to_do_the_duty_waits_where_it_is():
    """Else it would be 1 when the work comes, and the machine above the cap until it has fallen again."""
    assert next_duty(0.3, watts=20, used=0.05, cap=50) == 0.3
    assert next_duty(0.3, watts=20, used=0.3, cap=50) == pytest.approx(0.33)
    assert next_duty(0.3, watts=20, cap=50) == pytest.approx(0.33)  # nobody says: then it was used
    assert next_duty(0.3, watts=60, used=0.05, cap=50) < 0.3


@pytest.mark.parametrize("watts", [math.nan, math.inf, 1e9])
def test_watts_that_can_not_be_are_too_many(watts):
    assert MIN_DUTY <= next_duty(0.5, watts=watts, used=0.5, cap=50) < 0.5


@given(duty=duties, watts=st.floats(-10, 500), used=st.floats(0, 1), cap=st.floats(0, 500), most=duties)
@settings(max_examples=100)
def test_the_duty_stays_between_its_floor_and_what_other_rules_allow(duty, watts, used, cap, most):
    assert MIN_DUTY <= next_duty(duty, watts=watts, used=used, cap=cap, most=most) <= most


def test_where_other_rules_allow_less_than_the_floor_they_win():
    assert next_duty(0.01, watts=10, used=0.01, cap=50, most=0.01) == 0.01


@pytest.mark.parametrize(
    ("cap", "duty"),
    [(100.0, 1.0), (60.0, 1.0), (40.0, 0.5), (21.0, MIN_DUTY), (20.0, MIN_DUTY), (5.0, MIN_DUTY)],
)
def test_the_first_duty_is_a_guess_from_what_the_policy_says(cap, duty):
    assert first_duty(cap=cap, idle_watts=20.0, full_watts=60.0) == duty
