"""When the machine may work, by the owner's rules: signals in, `run`, `drain` or `stop` with reasons out.

Pure: the caller brings the time, the time zone and what is known. Whatever the rules need and isn't known
for certain (never heard of, heard of too long ago, nonsense, dated in the future) means `stop`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from enum import StrEnum

from p2pinfer.owner.policy.certainty import Doubt, certain_value
from p2pinfer.owner.policy.conditions import HAZARDS, SIGNAL_OF, Condition, InUse
from p2pinfer.owner.policy.hours import DAYS, Window, edges, next_time
from p2pinfer.owner.policy.tariff import Tariff
from p2pinfer.owner.signals.config import SignalsConfig
from p2pinfer.owner.signals.readings import Readings, Signal, Value
from p2pinfer.plain_text import printable

GIGABYTE = 1_000_000_000

_RESUME_PERCENT = 5.0  # above the floor, where the owner doesn't say
_RESUME_CELSIUS = 5.0  # below the limit, where the owner doesn't say


class Action(StrEnum):
    """What to do, from the mildest to the strictest."""

    RUN = "run"
    DRAIN = "drain"  # leave politely: sessions move to others first
    STOP = "stop"  # at once

    @property
    def strictness(self) -> int:
        """Larger is stricter."""
        return (Action.RUN, Action.DRAIN, Action.STOP).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why the machine may not work."""

    code: str  # for programs: not-parked
    words: str  # for people: gear is D
    action: Action  # what it asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the work may take, even while it drains."""

    cpu_share: float = 1.0  # of all processors of the machine, 0 < share <= 1
    watts: float | None = None  # that the machine draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the policy says now."""

    action: Action  # the strictest of the causes'; without causes RUN
    causes: tuple[Cause, ...]  # strictest first
    leaves_at: float | None  # Unix seconds: when hours or prices are known to end a RUN
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The owner's rules. Policy() has no conditions: it always says RUN."""

    parked: bool = False
    plugged_in: bool = False
    unmetered: bool = False
    wifi: tuple[str, ...] = ()  # names of allowed networks; empty: any, or none
    places: tuple[str, ...] = ()  # empty: anywhere
    hours: tuple[Window, ...] = ()  # empty: always
    max_price: float | None = None  # of a kWh, in `currency`
    battery_floor_percent: float | None = None
    battery_resume_percent: float | None = None  # None: a little above the floor
    battery_max_celsius: float | None = None
    battery_resume_celsius: float | None = None  # None: a little below the limit
    machine_max_celsius: float | None = None
    machine_resume_celsius: float | None = None
    monthly_traffic_gb: float | None = None
    in_use: InUse = InUse.IGNORE
    cpu_share_in_use: float = 0.25  # with InUse.LIMIT
    cpu_share: float = 1.0
    max_watts: float | None = None
    currency: str = "EUR"
    tariff: Tariff = field(default_factory=Tariff)
    watts_per_core: float = 8.0  # for estimates, where nothing measures: what a busy core draws
    idle_watts: float = 0.0  # what the machine draws anyway: the owner doesn't pay that for us
    drain_seconds: float = 60.0  # so long sessions have to move to others
    stale_seconds: float = 60.0  # a signal unheard of for longer isn't known any more
    actions: Mapping[Condition, Action] = field(default_factory=dict)  # where the owner wants others
    signals: SignalsConfig = field(default_factory=SignalsConfig)

    @property
    def exclusive_programs(self) -> tuple[str, ...]:
        """While one of them runs, the machine is theirs."""
        return self.signals.exclusive_programs

    @property
    def battery_begin_percent(self) -> float:
        """What a battery has to reach for work to begin; never below the floor."""
        floor = self.battery_floor_percent or 0.0
        resume = self.battery_resume_percent
        return max(floor, min(100.0, floor + _RESUME_PERCENT) if resume is None else resume)

    @property
    def battery_begin_celsius(self) -> float:
        """What a battery has to cool down to for work to begin; never above the limit."""
        return _begin_celsius(self.battery_max_celsius, self.battery_resume_celsius)

    @property
    def machine_begin_celsius(self) -> float:
        """The same of the machine."""
        return _begin_celsius(self.machine_max_celsius, self.machine_resume_celsius)

    def conditions(self) -> tuple[Condition, ...]:
        """What the owner asks for."""
        asked = {
            Condition.PARKED: self.parked,
            Condition.PLUGGED_IN: self.plugged_in,
            Condition.UNMETERED: self.unmetered,
            Condition.WIFI: bool(self.wifi),
            Condition.PLACES: bool(self.places),
            Condition.HOURS: bool(self.hours),
            Condition.MAX_PRICE: self.max_price is not None,
            Condition.BATTERY_FLOOR_PERCENT: self.battery_floor_percent is not None,
            Condition.BATTERY_MAX_CELSIUS: self.battery_max_celsius is not None,
            Condition.MACHINE_MAX_CELSIUS: self.machine_max_celsius is not None,
            Condition.MONTHLY_TRAFFIC_GB: self.monthly_traffic_gb is not None,
            Condition.EXCLUSIVE_PROGRAMS: bool(self.exclusive_programs),
            Condition.IN_USE: self.in_use is not InUse.IGNORE,
        }
        return tuple(condition for condition in Condition if asked[condition])

    def needed_signals(self) -> frozenset[Signal]:
        """What must be known for a RUN. The watts are not among them: a cap can do with an estimate."""
        needed = {SIGNAL_OF[condition] for condition in self.conditions() if condition in SIGNAL_OF}
        if self.max_price is not None and self.tariff.from_signal:
            needed.add(Signal.PRICE)
        return frozenset(needed)

    def action_of(self, condition: Condition) -> Action:
        """What to do where `condition` isn't met."""
        if condition is Condition.IN_USE:
            return Action.STOP if self.in_use is InUse.STOP else Action.DRAIN
        return self.actions.get(condition, Action.STOP if condition in HAZARDS else Action.DRAIN)


def _begin_celsius(limit: float | None, resume: float | None) -> float:
    limit = math.inf if limit is None else limit
    return min(limit, limit - _RESUME_CELSIUS if resume is None else resume)


def decide(policy: Policy, readings: Readings, *, now: float, zone: tzinfo, running: bool) -> Verdict:
    """Say whether the machine may work at `now` (Unix s), and why not.

    The strictest cause wins. `running` tells whether it works now: between a battery's floor and its resume
    level, and between a temperature's limit and its resume level, what runs goes on and what doesn't run
    doesn't begin. That alone never asks for more than DRAIN, so that it makes no stop of a drain.
    `zone` is the machine's, with its changes of the clock (a ZoneInfo).
    """
    known, causes = _known(policy, readings, now)
    causes += _state_causes(policy, known)
    causes += _level_causes(policy, known, running)
    causes += _time_causes(policy, known, now, zone)
    causes.sort(key=lambda cause: -cause.action.strictness)
    action = causes[0].action if causes else Action.RUN
    return Verdict(
        action=action,
        causes=tuple(causes),
        leaves_at=_leaves_at(policy, now, zone) if action is Action.RUN else None,
        limits=_limits(policy, known),
    )


def price_at(policy: Policy, readings: Readings, *, now: float, zone: tzinfo) -> float | None:
    """What a kWh costs at `now` (Unix s), in the policy's currency; None if nobody knows."""
    if not policy.tariff.from_signal:
        return policy.tariff.at(datetime.fromtimestamp(now, zone))
    value = _value(policy, Signal.PRICE, readings, now)
    return value if isinstance(value, float) else None


@dataclass(frozen=True, slots=True)
class _Known:
    """A needed signal's certain value, and how its source puts it."""

    value: Value
    words: str

    @property
    def number(self) -> float:
        return float(self.value)


def _value(policy: Policy, signal: Signal, readings: Readings, now: float) -> Value | Doubt:
    source = policy.signals.sources.get(signal)
    return certain_value(signal, readings.get(signal), source, now=now, stale_seconds=policy.stale_seconds)


def _known(policy: Policy, readings: Readings, now: float) -> tuple[dict[Signal, _Known], list[Cause]]:
    """The needed signals that are certain, and a cause to stop for each other one."""
    known: dict[Signal, _Known] = {}
    causes: list[Cause] = []
    needed = policy.needed_signals()
    for signal in (signal for signal in Signal if signal in needed):
        value = _value(policy, signal, readings, now)
        if isinstance(value, Doubt):
            causes.append(Cause(code=value.code, words=value.words, action=Action.STOP))
        else:
            known[signal] = _Known(value, printable(readings[signal].words))
    return known, causes


def _state_causes(policy: Policy, known: Mapping[Signal, _Known]) -> Iterator[Cause]:
    """What is otherwise than the owner asks for."""

    def cause(condition: Condition, code: str, words: str) -> Cause:
        return Cause(code=code, words=words, action=policy.action_of(condition))

    for condition, code, otherwise in (
        (Condition.PARKED, "not-parked", "the car isn't parked"),
        (Condition.PLUGGED_IN, "unplugged", "it isn't plugged in"),
        (Condition.UNMETERED, "metered", "the network is metered"),
    ):
        state = known.get(SIGNAL_OF[condition])
        if state is not None and not state.value:
            yield cause(condition, code, state.words or otherwise)
    network = known.get(Signal.WIFI)
    if network is not None and network.value not in policy.wifi:
        named = f"the Wi-Fi is {printable(str(network.value))}" if network.value else "it is on no Wi-Fi"
        yield cause(Condition.WIFI, "other-wifi", network.words or named)
    place = known.get(Signal.PLACE)
    if place is not None and place.value not in policy.places:
        named = (
            f"it is at {printable(str(place.value))}" if place.value else "it is at no place that has a name"
        )
        yield cause(Condition.PLACES, "other-place", place.words or named)
    program = known.get(Signal.PROGRAM)
    if program is not None and program.value:
        words = program.words or f"{printable(str(program.value))} runs"
        yield cause(Condition.EXCLUSIVE_PROGRAMS, "program-runs", words)
    in_use = known.get(Signal.IN_USE)
    if in_use is not None and in_use.value and policy.in_use is not InUse.LIMIT:
        yield cause(Condition.IN_USE, "in-use", in_use.words or "somebody uses it")
    traffic = known.get(Signal.TRAFFIC_BYTES)
    if traffic is not None and policy.monthly_traffic_gb is not None:
        gigabytes = traffic.number / GIGABYTE
        if gigabytes >= policy.monthly_traffic_gb:
            words = f"{gigabytes:.1f} GB of traffic this month, the cap is {policy.monthly_traffic_gb:g} GB"
            yield cause(Condition.MONTHLY_TRAFFIC_GB, "traffic-cap", words)


def _level_causes(policy: Policy, known: Mapping[Signal, _Known], running: bool) -> Iterator[Cause]:
    """What has crossed a limit, and what hasn't come back far enough yet to begin again."""
    battery, floor = known.get(Signal.BATTERY_PERCENT), policy.battery_floor_percent
    if battery is not None and floor is not None:
        words = f"battery is at {_figure(battery.number)} %"
        if battery.number < floor:
            action = policy.action_of(Condition.BATTERY_FLOOR_PERCENT)
            yield Cause(code="battery-low", words=f"{words}, the floor is {floor:g} %", action=action)
        elif not running and battery.number < policy.battery_begin_percent:
            words = f"{words}, work begins at {policy.battery_begin_percent:g} %"
            yield Cause(code="battery-low", words=words, action=Action.DRAIN)
    for condition, limit, begin, code, what in (
        (
            Condition.BATTERY_MAX_CELSIUS,
            policy.battery_max_celsius,
            policy.battery_begin_celsius,
            "battery-hot",
            "the battery has",
        ),
        (
            Condition.MACHINE_MAX_CELSIUS,
            policy.machine_max_celsius,
            policy.machine_begin_celsius,
            "machine-hot",
            "the machine has",
        ),
    ):
        heat = known.get(SIGNAL_OF[condition])
        if heat is None or limit is None:
            continue
        words = f"{what} {_figure(heat.number)} °C"
        if heat.number > limit:
            words = f"{words}, the limit is {limit:g} °C"
            yield Cause(code=code, words=words, action=policy.action_of(condition))
        elif not running and heat.number > begin:
            words = f"{words}, work begins at {begin:g} °C"
            yield Cause(code=code, words=words, action=Action.DRAIN)


def _time_causes(policy: Policy, known: Mapping[Signal, _Known], now: float, zone: tzinfo) -> Iterator[Cause]:
    """What the clock says, and the price, which may follow from it."""
    local = datetime.fromtimestamp(now, zone)
    if policy.hours and not _in_hours(policy, local):
        yield Cause(
            code="outside-hours",
            words=f"outside the allowed hours{_begins_again(policy, now, zone)}",
            action=policy.action_of(Condition.HOURS),
        )
    if policy.max_price is None:
        return
    if not policy.tariff.from_signal:
        price = policy.tariff.at(local)
        if price is None:
            yield Cause(code="no-price", words="nobody knows what a kWh costs now", action=Action.STOP)
            return
    elif Signal.PRICE in known:
        price = known[Signal.PRICE].number
    else:
        return  # there is a cause already
    if price > policy.max_price:
        yield Cause(
            code="too-dear",
            words=f"a kWh costs {price:g} {policy.currency}, the limit is {policy.max_price:g}",
            action=policy.action_of(Condition.MAX_PRICE),
        )


def _figure(number: float) -> str:
    return f"{round(number, 1):g}"


def _in_hours(policy: Policy, local: datetime) -> bool:
    return not policy.hours or any(window.covers(local) for window in policy.hours)


def _begins_again(policy: Policy, now: float, zone: tzinfo) -> str:
    again = next_time(lambda local: _in_hours(policy, local), edges(policy.hours), after=now, zone=zone)
    if again is None:
        return ""
    local = datetime.fromtimestamp(again, zone)
    return f", which begin again {DAYS[local.weekday()].capitalize()} {local:%H:%M}"


def _leaves_at(policy: Policy, now: float, zone: tzinfo) -> float | None:
    """When the hours, or those of the tariff, will end what runs at `now`."""
    windows = list(policy.hours)
    priced = policy.max_price is not None and not policy.tariff.from_signal
    if priced:
        windows += [hours.window for hours in policy.tariff.hours]
    if not windows:
        return None

    def ends(local: datetime) -> bool:
        price = policy.tariff.at(local) if priced else None
        too_dear = policy.max_price is not None and priced and (price is None or price > policy.max_price)
        return too_dear or not _in_hours(policy, local)

    return next_time(ends, edges(windows), after=now, zone=zone)


def _limits(policy: Policy, known: Mapping[Signal, _Known]) -> Limits:
    """How much the work may take; not knowing whether somebody uses the machine is as if somebody did."""
    in_use = known.get(Signal.IN_USE)
    limited = policy.in_use is InUse.LIMIT and (in_use is None or bool(in_use.value))
    share = min(policy.cpu_share, policy.cpu_share_in_use) if limited else policy.cpu_share
    return Limits(cpu_share=share, watts=policy.max_watts)
