"""What stops the work, in words for the owner; floors and limits with their resume levels."""

from __future__ import annotations

import pytest

from p2pinfer.owner.policy.causes import Cause
from p2pinfer.owner.policy.conditions import Action, InUse
from p2pinfer.owner.policy.hours import parse_window
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.tariff import Tariff
from p2pinfer.owner.signals.config import Host, MqttTopic, SignalsConfig
from p2pinfer.owner.signals.readings import Reading, Signal, Value
from tests.owner.policy.policies import NOW, known, verdict_of


def test_the_words_of_the_source_are_used():
    policy = Policy(parked=True)
    readings = {Signal.PARKED: Reading(value=False, at=NOW, words="gear is D")}

    assert verdict_of(policy, readings).causes == (
        Cause(code="not-parked", words="gear is D", action=Action.DRAIN),
    )


@pytest.mark.parametrize(
    ("policy", "values", "code", "words", "action"),
    [
        (Policy(parked=True), {"parked": False}, "not-parked", "the car isn't parked", "drain"),
        (Policy(plugged_in=True), {"plugged_in": False}, "unplugged", "it isn't plugged in", "drain"),
        (Policy(unmetered=True), {"unmetered": False}, "metered", "the network is metered", "drain"),
        (Policy(wifi=("home",)), {"wifi": "café"}, "other-wifi", "the Wi-Fi is café", "drain"),
        (Policy(wifi=("home",)), {"wifi": ""}, "other-wifi", "it is on no Wi-Fi", "drain"),
        (Policy(places=("home",)), {"place": "work"}, "other-place", "it is at work", "drain"),
        (
            Policy(places=("home",)),
            {"place": ""},
            "other-place",
            "it is at no place with a name",
            "drain",
        ),
        (
            Policy(battery_floor_percent=50),
            {"battery_percent": 41.0},
            "battery-low",
            "battery is at 41 %, the floor is 50 %",
            "drain",
        ),
        (
            Policy(battery_max_celsius=40),
            {"battery_celsius": 40.5},
            "battery-hot",
            "the battery has 40.5 °C, the limit is 40 °C",
            "stop",
        ),
        (
            Policy(machine_max_celsius=85),
            {"machine_celsius": 91},
            "machine-hot",
            "the machine has 91 °C, the limit is 85 °C",
            "stop",
        ),
        (
            Policy(monthly_traffic_gb=100),
            {"traffic_bytes": 1.0e11},
            "traffic-cap",
            "100.0 GB of traffic this month, the cap is 100 GB",
            "drain",
        ),
        (
            Policy(signals=SignalsConfig(exclusive_programs=("game",))),
            {"program": "game"},
            "program-runs",
            "game runs",
            "drain",
        ),
        (Policy(in_use=InUse.DRAIN), {"in_use": True}, "in-use", "somebody uses it", "drain"),
        (Policy(in_use=InUse.STOP), {"in_use": True}, "in-use", "somebody uses it", "stop"),
        (
            Policy(max_price=0.3, tariff=Tariff(price=0.42)),
            {},
            "too-dear",
            "a kWh costs 0.42 EUR, the limit is 0.3",
            "drain",
        ),
        (
            Policy(max_price=0.3, tariff=Tariff(from_signal=True), currency="CHF"),
            {"price": 0.42},
            "too-dear",
            "a kWh costs 0.42 CHF, the limit is 0.3",
            "drain",
        ),
        (Policy(max_price=0.3), {}, "no-price", "the price of a kWh is unknown now", "stop"),
        (
            Policy(hours=(parse_window("mon-fri 09:00-17:00"),)),
            {},
            "outside-hours",
            "outside the allowed hours, which begin again Mon 09:00",
            "drain",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "-" in value else "",
)
def test_every_condition_says_what_is_wrong(
    policy: Policy, values: dict[str, Value], code: str, words: str, action: str
):
    verdict = verdict_of(policy, known(**values))

    assert verdict.causes == (Cause(code=code, words=words, action=Action(action)),)
    assert verdict.action == action


def test_what_is_not_known_is_named_with_where_it_comes_from():
    policy = Policy(
        parked=True,
        plugged_in=True,
        battery_floor_percent=20,
        unmetered=True,
        signals=SignalsConfig(sources={Signal.PARKED: MqttTopic(topic="car/gear"), Signal.UNMETERED: Host()}),
    )
    readings = {
        Signal.PLUGGED_IN: Reading(value=True, at=NOW - 75, origin="mqtt car/plug"),
        Signal.BATTERY_PERCENT: Reading(value=400.0, at=NOW, origin="mqtt car/battery"),
        Signal.UNMETERED: Reading(value="yes", at=NOW),
    }

    assert [(cause.code, cause.words) for cause in verdict_of(policy, readings).causes] == [
        ("missing-signal", "nothing is known of parked (mqtt car/gear)"),
        ("stale-signal", "nothing heard of plugged_in for 75 s (mqtt car/plug)"),
        ("bad-signal", "unmetered isn't true or false (this machine)"),
        ("bad-signal", "battery_percent can't be 400 (mqtt car/battery)"),
    ]


def test_a_silence_of_hours_is_told_in_hours():
    readings = {Signal.PARKED: Reading(value=True, at=NOW - 3 * 3600)}

    assert "for 3 h (" in verdict_of(Policy(parked=True), readings).causes[0].words


def test_a_signal_counts_for_all_of_its_time():
    policy = Policy(parked=True, stale_seconds=60)

    assert verdict_of(policy, known(NOW - 60, parked=True)).action is Action.RUN
    assert verdict_of(policy, known(NOW - 60.1, parked=True)).action is Action.STOP


def test_a_clock_that_is_a_little_ahead_is_forgiven():
    policy = Policy(parked=True)

    assert verdict_of(policy, known(NOW + 4, parked=True)).action is Action.RUN
    assert verdict_of(policy, known(NOW + 6, parked=True)).action is Action.STOP


def test_what_a_source_says_stays_in_one_line():
    readings = {Signal.PARKED: Reading(value=False, at=NOW, words="gear\x1b[2J\nis D" + "!" * 500)}
    words = verdict_of(Policy(parked=True), readings).causes[0].words

    assert words.isprintable() and len(words) <= 200


@pytest.mark.parametrize(
    ("percent", "running", "works"),
    [(49.9, True, False), (50, True, True), (50, False, False), (59.9, False, False), (60, False, True)],
)
def test_a_battery_has_to_charge_up_to_the_resume_level(percent: float, running: bool, works: bool):
    policy = Policy(battery_floor_percent=50, battery_resume_percent=60)
    verdict = verdict_of(policy, known(battery_percent=percent), running=running)

    assert (verdict.action is Action.RUN) is works


@pytest.mark.parametrize(
    ("celsius", "running", "action"),
    [
        (85.1, True, "stop"),
        (85, True, "run"),
        (85, False, "drain"),
        (75.1, False, "drain"),
        (75, False, "run"),
    ],
)
def test_a_machine_has_to_cool_down_to_the_resume_level(celsius: float, running: bool, action: str):
    """Between the two an idle machine doesn't begin, and a drain doesn't become a stop."""
    policy = Policy(machine_max_celsius=85, machine_resume_celsius=75)

    assert verdict_of(policy, known(machine_celsius=celsius), running=running).action == action


def test_without_a_resume_level_there_is_a_small_distance():
    policy = Policy(battery_floor_percent=98, battery_max_celsius=40)

    assert (policy.battery_begin_percent, policy.battery_begin_celsius) == (100, 35)


def test_a_resume_level_on_the_wrong_side_counts_as_the_limit():
    policy = Policy(
        battery_floor_percent=50, battery_resume_percent=10, battery_max_celsius=40, battery_resume_celsius=60
    )

    assert (policy.battery_begin_percent, policy.battery_begin_celsius) == (50, 40)
