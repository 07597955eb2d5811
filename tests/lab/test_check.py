"""When `wan_lab check` marks a number as off."""

from __future__ import annotations

from scripts.lab import PROFILES
from scripts.lab.check import judge_loss, judge_rate, judge_round_trip, table_row


def test_a_round_trip_may_be_a_tenth_and_some_wake_ups_off():
    """Twice the one-way delay is nominal."""
    cable = PROFILES["home-cable"]

    assert [judge_round_trip(cable, ms / 1e3).met for ms in (35, 37, 45, 46)] == [False, True, True, False]


def test_a_rate_may_be_a_tenth_off_unless_the_machine_is_the_limit():
    """Where TCP can't be expected to fill the link, it only must not be faster."""
    assert [judge_rate("up", 20e6, rate * 1e6).met for rate in (17, 19, 21, 23)] == [False, True, True, False]
    assert [judge_rate("up", 1e9, rate * 1e6).met for rate in (600, 1200)] == [True, False]
    assert [judge_rate("up", 20e6, rate * 1e6, full=False).met for rate in (1, 23)] == [True, False]


def test_a_loss_may_be_off_by_what_chance_does():
    """The tolerance is four standard errors and a thousandth."""
    satellite = PROFILES["satellite"]

    assert [judge_loss(satellite, 10_000, 10_000 - lost).met for lost in (0, 50, 100)] == [False, True, False]
    assert [judge_loss(PROFILES["lan"], 10_000, 10_000 - lost).met for lost in (0, 20)] == [True, False]


def test_the_table_names_what_is_off():
    """Numbers that are off are easy to find in the table."""
    row = table_row("home-cable", judge_rate("up, TCP", 20e6, 10e6))

    assert row.split() == [
        "home-cable",
        "up,",
        "TCP",
        "20.00",
        "10.00",
        "18.00",
        "to",
        "22.00",
        "Mbit/s",
        "OFF",
    ]
