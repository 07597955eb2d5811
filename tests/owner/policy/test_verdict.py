"""Whether the machine may work: what holds for every policy and all readings, and when it leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.owner.policy.conditions import SIGNAL_OF, Action, Condition, InUse
from p2pinfer.owner.policy.hours import Window, parse_window
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.tariff import PricedHours, Tariff
from p2pinfer.owner.policy.verdict import Limits, Verdict, price_at
from p2pinfer.owner.signals.config import SignalsConfig
from p2pinfer.owner.signals.readings import KINDS, Reading, Readings, Signal, Value
from tests.owner.policy.policies import BERLIN, NOW, known, verdict_of

WITHOUT: Mapping[Condition, Mapping[str, object]] = {
    Condition.PARKED: {"parked": False},
    Condition.PLUGGED_IN: {"plugged_in": False},
    Condition.UNMETERED: {"unmetered": False},
    Condition.WIFI: {"wifi": ()},
    Condition.PLACES: {"places": ()},
    Condition.HOURS: {"hours": ()},
    Condition.MAX_PRICE: {"max_price": None},
    Condition.BATTERY_FLOOR_PERCENT: {"battery_floor_percent": None},
    Condition.BATTERY_MAX_CELSIUS: {"battery_max_celsius": None},
    Condition.MACHINE_MAX_CELSIUS: {"machine_max_celsius": None},
    Condition.MONTHLY_TRAFFIC_GB: {"monthly_traffic_gb": None},
    Condition.EXCLUSIVE_PROGRAMS: {"signals": SignalsConfig()},
    Condition.IN_USE: {"in_use": InUse.IGNORE},
}

optional = st.none() | st.floats(0, 100)

windows = st.builds(
    Window,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start_minute=st.integers(0, 719),
    end_minute=st.integers(720, 1440),
)

tariffs = st.builds(
    Tariff,
    price=optional,
    hours=st.lists(st.builds(PricedHours, window=windows, price=st.floats(0, 100)), max_size=2).map(tuple),
    from_signal=st.booleans(),
)

overridable = st.sampled_from([condition for condition in Condition if condition is not Condition.IN_USE])

policies = st.builds(
    Policy,
    parked=st.booleans(),
    plugged_in=st.booleans(),
    unmetered=st.booleans(),
    wifi=st.sampled_from([(), ("home",), ("home", "work")]),
    places=st.sampled_from([(), ("home",)]),
    hours=st.lists(windows, max_size=2).map(tuple),
    max_price=optional,
    battery_floor_percent=optional,
    battery_resume_percent=optional,
    battery_max_celsius=optional,
    battery_resume_celsius=optional,
    machine_max_celsius=optional,
    machine_resume_celsius=optional,
    monthly_traffic_gb=optional,
    in_use=st.sampled_from(InUse),
    cpu_share=st.floats(0.05, 1),
    max_watts=st.none() | st.floats(1, 100),
    tariff=tariffs,
    actions=st.dictionaries(overridable, st.sampled_from([Action.DRAIN, Action.STOP])),
    signals=st.sampled_from([SignalsConfig(), SignalsConfig(exclusive_programs=("game",))]),
)

timed_policies = st.builds(
    Policy, hours=st.lists(windows, max_size=3).map(tuple), max_price=optional, tariff=tariffs
)

GOOD: Mapping[type[Value], st.SearchStrategy[Value]] = {
    bool: st.booleans(),
    float: st.floats(0, 100) | st.integers(0, 100),
    str: st.sampled_from(["home", "work", "game", ""]),
}

good_readings = st.fixed_dictionaries(
    {
        signal: st.builds(Reading, value=GOOD[kind], at=st.floats(NOW - 59, NOW))
        for signal, kind in KINDS.items()
    }
)

anything = st.one_of(
    st.booleans(), st.floats(), st.integers(), st.text(max_size=5), st.none(), st.just(10**400), st.binary()
)

times = st.floats() | st.floats(NOW - 200, NOW + 20) | st.just(10**400)

any_readings = st.dictionaries(
    st.sampled_from(Signal), st.builds(Reading, value=anything, at=times, words=st.text(max_size=5))
)

now_and_then = st.floats(NOW - 20 * 86400, NOW + 20 * 86400)
each_time = settings(max_examples=60)


def fresh(readings: Readings, now: float) -> Readings:
    return {signal: replace(reading, at=now) for signal, reading in readings.items()}


@given(policies, any_readings, st.booleans())
@each_time
def test_no_reading_whatsoever_raises_and_the_strictest_cause_wins(
    policy: Policy, readings: Readings, running: bool
):
    """A RUN has no causes, all else has at least one."""
    verdict = verdict_of(policy, readings, running=running)

    asked = [cause.action.strictness for cause in verdict.causes]
    assert verdict.action.strictness == max(asked, default=0)
    assert asked == sorted(asked, reverse=True) and 0 not in asked
    assert all(cause.code and cause.words.isprintable() for cause in verdict.causes)
    price = price_at(policy, readings, now=NOW, zone=BERLIN)
    assert price is None or math.isfinite(price)


@given(policies, good_readings, st.data(), st.booleans())
@each_time
def test_a_needed_signal_that_is_not_certain_stops(
    policy: Policy, readings: dict[Signal, Reading], data: st.DataObject, running: bool
):
    """Missing, stale, of the future, of the wrong kind, or no number."""
    needed = sorted(policy.needed_signals())
    if not needed:
        assert not [cause for cause in verdict_of(policy, {}).causes if cause.code.endswith("-signal")]
        return
    signal = data.draw(st.sampled_from(needed))
    good = readings[signal]
    bad = data.draw(
        st.sampled_from(
            [
                None,
                replace(good, at=NOW - 60.5),
                replace(good, at=NOW + 6),
                replace(good, at=math.nan),
                replace(good, value=math.nan if KINDS[signal] is float else 1.0),
                replace(good, value="50" if KINDS[signal] is float else math.inf),
            ]
        )
    )
    others = {other: reading for other, reading in readings.items() if other is not signal}
    verdict = verdict_of(policy, others if bad is None else {**others, signal: bad}, running=running)

    assert verdict.action is Action.STOP
    assert [
        cause.words for cause in verdict.causes if signal in cause.words and cause.code.endswith("-signal")
    ]


@given(policies, good_readings | any_readings, st.booleans(), st.data())
@each_time
def test_taking_a_condition_out_never_makes_it_stricter(
    policy: Policy, readings: Readings, running: bool, data: st.DataObject
):
    condition = data.draw(st.sampled_from(Condition))
    freer = replace(policy, **WITHOUT[condition])

    assert condition not in freer.conditions()
    assert freer.needed_signals() <= policy.needed_signals()
    before, after = (verdict_of(one, readings, running=running) for one in (policy, freer))
    assert after.action.strictness <= before.action.strictness
    assert after.limits.cpu_share >= before.limits.cpu_share
    assert set(after.causes) <= set(before.causes)


@given(policies, good_readings, st.booleans())
@each_time
def test_with_the_same_readings_nothing_flips(policy: Policy, readings: Readings, running: bool):
    """Whatever was before: after one decision the next ones are alike. Readiness to begin is never laxer."""
    first = verdict_of(policy, readings, running=running)
    second = verdict_of(policy, readings, running=first.action is Action.RUN)
    third = verdict_of(policy, readings, running=second.action is Action.RUN)

    assert (first.action is Action.RUN) == (second.action is Action.RUN)
    assert second == third
    # A drain doesn't become a stop only because the machine doesn't count as running any more.
    assert second.action.strictness <= first.action.strictness


@given(timed_policies, now_and_then, st.builds(known, price=st.floats(0, 100)))
@each_time
def test_it_leaves_when_it_said(policy: Policy, now: float, readings: Readings):
    """With all else unchanged: RUN until just before, and not after."""
    verdict = verdict_of(policy, fresh(readings, now), now=now)
    if verdict.leaves_at is None:
        return
    end = verdict.leaves_at
    assert verdict.action is Action.RUN
    assert end > now
    for moment, works in ((now + (end - now) / 2, True), (end - 0.01, True), (end, False), (end + 1, False)):
        then = verdict_of(policy, fresh(readings, moment), now=moment)
        assert (then.action is Action.RUN) is works


@given(st.lists(windows, min_size=1, max_size=2).map(tuple), now_and_then)
@each_time
def test_with_hours_it_runs_or_says_when_it_will(hours: tuple[Window, ...], now: float):
    """Windows alone: RUN always knows its end, unless they fill the week."""
    verdict = verdict_of(Policy(hours=hours), now=now)

    if verdict.action is Action.RUN:
        week = (datetime(2026, 1, 5) + timedelta(minutes=minute) for minute in range(7 * 1440))
        always = verdict.leaves_at is None
        assert not always or all(any(window.covers(local) for window in hours) for local in week)
    else:
        assert verdict.leaves_at is None
        assert "begin again" in verdict.causes[0].words


def test_every_condition_is_in_the_tables():
    assert set(WITHOUT) == set(Condition)
    assert set(SIGNAL_OF) == set(Condition) - {Condition.HOURS, Condition.MAX_PRICE}


def test_without_conditions_it_always_runs():
    assert verdict_of(Policy()) == Verdict(action=Action.RUN, causes=(), leaves_at=None, limits=Limits())


def test_who_uses_the_machine_gets_the_larger_part_of_it():
    policy = Policy(in_use=InUse.LIMIT, cpu_share=0.8, cpu_share_in_use=0.25, max_watts=40)

    assert verdict_of(policy, known(in_use=True)).limits == Limits(cpu_share=0.25, watts=40)
    assert verdict_of(policy, known(in_use=False)).limits == Limits(cpu_share=0.8, watts=40)
    assert verdict_of(policy, known(in_use=True)).action is Action.RUN


def test_the_limit_that_the_owner_chose_holds_while_nobody_knows_whether_the_machine_is_used():
    """Never heard of, stale, dated in the future, of the wrong kind: it works, and takes little."""
    limited = Policy(in_use=InUse.LIMIT, cpu_share=0.8, cpu_share_in_use=0.25)
    readings = [
        {},
        known(NOW - 3600, in_use=False),
        known(NOW + 3600, in_use=False),
        known(in_use="perhaps"),
    ]
    for unknown in readings:
        for running in (True, False):
            verdict = verdict_of(limited, unknown, running=running)
            assert verdict == Verdict(
                action=Action.RUN, causes=(), leaves_at=None, limits=Limits(cpu_share=0.25)
            )
            for strict in (InUse.DRAIN, InUse.STOP):
                stopped = verdict_of(replace(limited, in_use=strict), unknown, running=running)
                assert stopped.action is Action.STOP


def test_a_smaller_share_at_all_times_stays_the_smaller_one():
    policy = Policy(in_use=InUse.LIMIT, cpu_share=0.1, cpu_share_in_use=0.25)

    assert verdict_of(policy, known(in_use=True)).limits.cpu_share == 0.1


def test_only_what_the_conditions_need_is_needed():
    """A cap in watts can do without a meter, and a price limit without a signal where prices are written."""
    assert Policy(max_watts=10).needed_signals() == frozenset()
    assert Policy(max_price=1, tariff=Tariff(price=0.5)).needed_signals() == frozenset()
    assert Policy(max_price=1, tariff=Tariff(from_signal=True)).needed_signals() == {Signal.PRICE}
    assert Policy(tariff=Tariff(from_signal=True)).needed_signals() == frozenset()
    assert Policy(in_use=InUse.DRAIN, parked=True).needed_signals() == {Signal.IN_USE, Signal.PARKED}
    assert Policy(in_use=InUse.LIMIT, parked=True).needed_signals() == {Signal.PARKED}
    assert Policy(in_use=InUse.LIMIT, parked=True).used_signals() == {Signal.IN_USE, Signal.PARKED}


def test_the_owner_may_choose_how_to_end():
    policy = Policy(
        parked=True,
        machine_max_celsius=80,
        actions={Condition.PARKED: Action.STOP, Condition.MACHINE_MAX_CELSIUS: Action.DRAIN},
    )
    verdict = verdict_of(policy, known(parked=False, machine_celsius=90))

    assert [(cause.code, cause.action) for cause in verdict.causes] == [
        ("not-parked", Action.STOP),
        ("machine-hot", Action.DRAIN),
    ]


def test_it_leaves_at_the_end_of_the_hours_an_hour_earlier_in_the_night_to_summer_time():
    policy = Policy(hours=(parse_window("22:00-07:00"),))

    assert verdict_of(policy).leaves_at == datetime(2026, 3, 29, 5, 0, tzinfo=UTC).timestamp()


def test_hours_that_follow_each_other_are_one():
    policy = Policy(hours=(parse_window("sat 22:00-24:00"), parse_window("sun 00:00-03:30")))

    assert verdict_of(policy).leaves_at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp()


def test_it_leaves_when_a_kwh_gets_too_dear():
    """The tariff's hours count only if there is a limit."""
    tariff = Tariff(price=0.4, hours=(PricedHours(window=parse_window("22:00-06:00"), price=0.2),))
    policy = Policy(max_price=0.3, tariff=tariff, hours=(parse_window("22:00-07:00"),))

    assert verdict_of(policy).leaves_at == datetime(2026, 3, 29, 4, 0, tzinfo=UTC).timestamp()
    assert verdict_of(replace(policy, max_price=None, hours=())).leaves_at is None
    assert verdict_of(replace(policy, max_price=0.5, hours=())).leaves_at is None


def test_a_price_at_the_limit_is_not_too_dear():
    assert verdict_of(Policy(max_price=0.3, tariff=Tariff(price=0.3))).action is Action.RUN


def test_it_leaves_when_nobody_knows_the_price_any_more():
    tariff = Tariff(hours=(PricedHours(window=parse_window("22:00-06:00"), price=0.2),))

    end = datetime(2026, 3, 29, 4, 0, tzinfo=UTC).timestamp()
    assert verdict_of(Policy(max_price=0.3, tariff=tariff)).leaves_at == end


def test_who_does_not_run_has_no_leaving_time():
    policy = Policy(hours=(parse_window("22:00-07:00"),), parked=True)

    assert verdict_of(policy, known(parked=False)).leaves_at is None
