"""What isn't known, in words for the owner: one sentence for each source that has a trouble."""

from __future__ import annotations

from p2pinfer.owner.policy.causes import Cause
from p2pinfer.owner.policy.conditions import Action, InUse
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.verdict import decide
from p2pinfer.owner.signals.config import (
    Entity,
    FileText,
    HomeAssistant,
    Host,
    MqttBroker,
    MqttTopic,
    SignalsConfig,
)
from p2pinfer.owner.signals.readings import Reading, Readings, Signal
from p2pinfer.owner.signals.trouble import Trouble
from tests.owner.policy.policies import BERLIN, NOW, known

TOPICS = (Signal.PARKED, Signal.PLUGGED_IN, Signal.PLACE, Signal.BATTERY_PERCENT)
HOUSEHOLD = Policy(
    parked=True,
    plugged_in=True,
    places=("Home",),
    battery_floor_percent=50,
    in_use=InUse.DRAIN,
    unmetered=True,
    wifi=("home",),
    signals=SignalsConfig(
        sources={
            **{signal: MqttTopic(topic=f"car/{signal}") for signal in TOPICS},
            Signal.IN_USE: Entity(entity_id="sensor.user"),
            Signal.UNMETERED: Host(),
            Signal.WIFI: Host(),
        },
        mqtt=MqttBroker(host="192.0.2.10"),
        home_assistant=HomeAssistant(url="http://home:8123", token=""),
    ),
)
OTHERS = known(in_use=False, unmetered=True, wifi="home")


def told(readings: Readings, troubles: dict[Signal, Trouble], policy: Policy = HOUSEHOLD) -> list[Cause]:
    verdict = decide(policy, readings, now=NOW, zone=BERLIN, running=False, troubles=troubles)
    assert verdict.action is Action.STOP
    assert all(len(cause.words) <= 400 and cause.words.isprintable() for cause in verdict.causes)
    return list(verdict.causes)


def words(*arguments: object) -> list[str]:
    return [cause.words for cause in told(*arguments)]  # type: ignore[arg-type]


def test_a_source_that_refuses_is_named_first_and_once():
    broker = "mqtt broker 192.0.2.10:1883"
    trouble = Trouble(
        origin=broker,
        kind="denied",
        words="it refuses this user name or password",
        advice="put the right ones into [mqtt]",
    )

    assert told(OTHERS, dict.fromkeys(TOPICS, trouble)) == [
        Cause(
            code=f"{broker}: denied",
            words=f"{broker}: it refuses this user name or password, so parked, plugged_in, place and "
            "battery_percent aren't known: put the right ones into [mqtt]",
            action=Action.STOP,
        )
    ]


def test_of_a_broker_that_died_stale_and_missing_signals_are_one_sentence():
    stale = {
        Signal.PARKED: Reading(value=True, at=NOW - 75),
        Signal.PLACE: Reading(value="Home", at=NOW - 61),
    }
    trouble = Trouble(origin="mqtt broker 192.0.2.10:1883", kind="refused", words="connection refused")

    (one,) = words({**OTHERS, **stale}, dict.fromkeys(TOPICS, trouble))
    assert one == (
        "mqtt broker 192.0.2.10:1883: connection refused, so parked, plugged_in, place and battery_percent "
        "aren't known"
    )


def test_before_anything_was_heard_the_broker_is_named_instead_of_its_topics():
    assert words(OTHERS, {}) == [
        "nothing is known of parked, plugged_in, place and battery_percent (mqtt broker 192.0.2.10:1883)"
    ]


def test_a_silence_without_a_reason_is_told_with_its_longest_time():
    stale = {signal: Reading(value=True, at=NOW - 61 - number) for number, signal in enumerate(TOPICS)}

    assert words({**OTHERS, **stale}, {}) == [
        "nothing heard of parked, plugged_in, place and battery_percent for 64 s "
        "(mqtt broker 192.0.2.10:1883)"
    ]


def test_topics_with_the_same_trouble_are_one_sentence_and_others_have_their_own():
    silence = {
        signal: Trouble(origin=f"mqtt car/{signal}", kind="silence", words="nothing is there")
        for signal in TOPICS[:3]
    }
    number = Trouble(origin="mqtt car/battery_percent", kind="no number", words="it says 'x', not a number")

    assert words(OTHERS, {**silence, Signal.BATTERY_PERCENT: number}) == [
        "mqtt car/parked and 2 more: nothing is there, so parked, plugged_in and place aren't known",
        "mqtt car/battery_percent: it says 'x', not a number, so battery_percent isn't known",
    ]


def test_every_source_has_a_sentence_and_a_code_of_its_own():
    broker = Trouble(origin="mqtt broker 192.0.2.10:1883", kind="refused", words="connection refused")
    home = Trouble(origin="home assistant http://home:8123", kind="refused", words="connection refused")
    manager = Trouble(origin="NetworkManager", kind="no instrument", words="NetworkManager doesn't run here")

    causes = told(
        {},
        {
            **dict.fromkeys(TOPICS, broker),
            Signal.IN_USE: home,
            Signal.UNMETERED: manager,
            Signal.WIFI: manager,
        },
    )
    assert [cause.code for cause in causes] == [
        "mqtt broker 192.0.2.10:1883: refused",
        "NetworkManager: no instrument",
        "home assistant http://home:8123: refused",
    ]
    assert causes[1].words == ("NetworkManager doesn't run here, so unmetered and wifi aren't known")


def test_a_trouble_that_is_told_in_other_words_is_no_news():
    """Seconds that pass change the words, and not the code."""
    policy = Policy(parked=True, signals=SignalsConfig(sources={Signal.PARKED: FileText(path="/run/parked")}))
    codes = {
        told({}, {Signal.PARKED: Trouble(origin="file /run/parked", kind="old", words=said)}, policy)[0].code
        for said in ("it was last written 61 s ago", "it was last written 63 s ago")
    }

    assert codes == {"file /run/parked: old"}


def test_what_a_machine_lacks_is_said_without_a_name_of_ours():
    trouble = Trouble(origin="host in_use", kind="no instrument", words="this machine can't tell")

    assert words({}, {Signal.IN_USE: trouble}, Policy(in_use=InUse.STOP)) == [
        "this machine can't tell, so in_use isn't known"
    ]


def test_a_value_that_cannot_be_is_no_fault_of_the_connection():
    readings = {**OTHERS, **known(parked=True, plugged_in=True, place="Home", battery_percent=400.0)}
    trouble = Trouble(origin="mqtt broker 192.0.2.10:1883", kind="refused", words="connection refused")

    assert words(readings, {Signal.BATTERY_PERCENT: trouble}) == [
        "battery_percent can't be 400 (mqtt car/battery_percent)"
    ]


def test_a_trouble_with_a_signal_that_is_still_fresh_stops_nothing():
    readings = {**OTHERS, **known(parked=True, plugged_in=True, place="Home", battery_percent=80.0)}
    trouble = Trouble(origin="mqtt broker 192.0.2.10:1883", kind="refused", words="connection refused")
    verdict = decide(
        HOUSEHOLD,
        readings,
        now=NOW,
        zone=BERLIN,
        running=True,
        troubles=dict.fromkeys(TOPICS, trouble),
    )

    assert verdict.action is Action.RUN


def test_what_a_source_says_of_its_trouble_stays_in_one_short_line():
    trouble = Trouble(origin="command \x1b[2J" + "x" * 500, kind="failed", words="\n" * 500)

    told({}, {Signal.PARKED: trouble})
