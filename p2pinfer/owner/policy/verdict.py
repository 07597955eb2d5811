"""Whether the machine may work now: signals and time in, `run`, `drain` or `stop` with its causes out.

Pure: the caller brings the time, the time zone and the readings. A needed signal that isn't certain (never
heard of, stale, impossible, dated in the future) means `stop`. One that only limits the work means the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from p2pinfer.owner.policy.causes import Cause, CertainReading, signal_causes
from p2pinfer.owner.policy.certainty import Doubt, certain_value
from p2pinfer.owner.policy.conditions import Action, Condition, InUse
from p2pinfer.owner.policy.doubts import doubt_causes
from p2pinfer.owner.policy.hours import DAYS, edges, next_time
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.signals.readings import Readings, Signal, Value
from p2pinfer.owner.signals.trouble import Trouble
from p2pinfer.plain_text import printable

_NO_TROUBLES: Mapping[Signal, Trouble] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the work may take, also while it drains."""

    cpu_share: float = 1.0  # of all processors of the machine, 0 < share <= 1
    watts: float | None = None  # that the machine may draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the policy says now."""

    action: Action  # the strictest action of the causes; RUN without causes
    causes: tuple[Cause, ...]  # strictest first
    leaves_at: float | None  # Unix seconds: when hours or prices are known to end a RUN
    limits: Limits


def decide(
    policy: Policy,
    readings: Readings,
    *,
    now: float,
    zone: tzinfo,
    running: bool,
    troubles: Mapping[Signal, Trouble] = _NO_TROUBLES,
) -> Verdict:
    """Say whether the machine may work at `now` (Unix seconds), and if not, why.

    The strictest cause wins. `running` says whether the machine works now. Between a limit and its resume
    level a running machine goes on, and an idle machine doesn't begin. A level in between asks for DRAIN at
    most, so that a drain that has begun doesn't turn into a stop. `zone` is the machine's time zone with its
    clock changes (a ZoneInfo). `troubles` says why signals aren't known; the decision doesn't depend on it.
    """
    known, doubts = _known(policy, readings, now)
    causes = list(doubt_causes(doubts, troubles, policy.signals))
    causes += signal_causes(policy, known, running=running)
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
    """The price of a kWh at `now` (Unix seconds) in the policy's currency; None if it is unknown."""
    if not policy.tariff.from_signal:
        return policy.tariff.at(datetime.fromtimestamp(now, zone))
    value = _value(policy, Signal.PRICE, readings, now)
    return value if isinstance(value, float) else None


def _value(policy: Policy, signal: Signal, readings: Readings, now: float) -> Value | Doubt:
    source = policy.signals.sources.get(signal)
    return certain_value(signal, readings.get(signal), source, now=now, stale_seconds=policy.stale_seconds)


def _known(
    policy: Policy, readings: Readings, now: float
) -> tuple[dict[Signal, CertainReading], dict[Signal, Doubt]]:
    """The signals that are certain, and what is wrong with the needed ones that aren't."""
    known: dict[Signal, CertainReading] = {}
    doubts: dict[Signal, Doubt] = {}
    used, needed = policy.used_signals(), policy.needed_signals()
    for signal in (signal for signal in Signal if signal in used):
        value = _value(policy, signal, readings, now)
        if not isinstance(value, Doubt):
            known[signal] = CertainReading(value, printable(readings[signal].words))
        elif signal in needed:
            doubts[signal] = value
    return known, doubts


def _time_causes(
    policy: Policy, known: Mapping[Signal, CertainReading], now: float, zone: tzinfo
) -> Iterator[Cause]:
    """What the clock forbids, and the price, which may depend on the clock."""
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
            yield Cause(code="no-price", words="the price of a kWh is unknown now", action=Action.STOP)
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


def _in_hours(policy: Policy, local: datetime) -> bool:
    return not policy.hours or any(window.covers(local) for window in policy.hours)


def _begins_again(policy: Policy, now: float, zone: tzinfo) -> str:
    again = next_time(lambda local: _in_hours(policy, local), edges(policy.hours), after=now, zone=zone)
    if again is None:
        return ""
    local = datetime.fromtimestamp(again, zone)
    return f", which begin again {DAYS[local.weekday()].capitalize()} {local:%H:%M}"


def _leaves_at(policy: Policy, now: float, zone: tzinfo) -> float | None:
    """When the allowed hours, or the hours of the tariff, end work that runs at `now`."""
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


def _limits(policy: Policy, known: Mapping[Signal, CertainReading]) -> Limits:
    """How much the work may take. If it isn't known whether somebody uses the machine, somebody does."""
    in_use = known.get(Signal.IN_USE)
    limited = policy.in_use is InUse.LIMIT and (in_use is None or bool(in_use.value))
    share = min(policy.cpu_share, policy.cpu_share_in_use) if limited else policy.cpu_share
    return Limits(cpu_share=share, watts=policy.max_watts)
