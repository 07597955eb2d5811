"""Which of the owner's rules the signals break now, with words for the owner. Pure.

Two tables hold the rules. A state is as the owner asks for, or not. A threshold is crossed, or not; between a
threshold and its resume level a running machine goes on, and an idle one doesn't begin.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from p2pinfer.owner.policy.conditions import SIGNAL_OF, Action, Condition, InUse
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.signals.readings import Signal, Value
from p2pinfer.plain_text import printable

GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why the machine may not work."""

    code: str  # for programs: not-parked; equal codes are no news, whatever the words
    words: str  # for people: gear is D
    action: Action  # that it asks for


@dataclass(frozen=True, slots=True)
class CertainReading:
    """The value of a signal that can be relied on."""

    value: Value
    words: str  # how its source puts it; may be empty

    @property
    def number(self) -> float:
        """The value of a signal that is a number."""
        return float(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StateRule:
    """The signal of `condition` has to have a value that the policy allows."""

    condition: Condition
    code: str
    is_met: Callable[[Policy, Value], bool]
    words: Callable[[str], str]  # from the value as text; for a source without words of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class _ThresholdRule:
    """The signal of `condition` must not cross the policy's limit."""

    condition: Condition
    code: str
    limit: Callable[[Policy], float | None]
    resume: Callable[[Policy], float] | None = None  # where work may begin; None: anywhere within the limit
    is_beyond: Callable[[float, float], bool]  # (value, level)
    level: Callable[[float], float] = float  # from the signal's unit to the limit's
    words: Callable[[float], str]  # what the level is
    limit_name: str
    unit: str


_STATES = (
    _StateRule(
        condition=Condition.PARKED,
        code="not-parked",
        is_met=lambda policy, value: bool(value),
        words=lambda text: "the car isn't parked",
    ),
    _StateRule(
        condition=Condition.PLUGGED_IN,
        code="unplugged",
        is_met=lambda policy, value: bool(value),
        words=lambda text: "it isn't plugged in",
    ),
    _StateRule(
        condition=Condition.UNMETERED,
        code="metered",
        is_met=lambda policy, value: bool(value),
        words=lambda text: "the network is metered",
    ),
    _StateRule(
        condition=Condition.WIFI,
        code="other-wifi",
        is_met=lambda policy, value: value in policy.wifi,
        words=lambda text: f"the Wi-Fi is {text}" if text else "it is on no Wi-Fi",
    ),
    _StateRule(
        condition=Condition.PLACES,
        code="other-place",
        is_met=lambda policy, value: value in policy.places,
        words=lambda text: f"it is at {text}" if text else "it is at no place with a name",
    ),
    _StateRule(
        condition=Condition.EXCLUSIVE_PROGRAMS,
        code="program-runs",
        is_met=lambda policy, value: not value,
        words=lambda text: f"{text} runs",
    ),
    _StateRule(
        condition=Condition.IN_USE,
        code="in-use",
        is_met=lambda policy, value: not value or policy.in_use is InUse.LIMIT,
        words=lambda text: "somebody uses it",
    ),
)

_THRESHOLDS = (
    _ThresholdRule(
        condition=Condition.MONTHLY_TRAFFIC_GB,
        code="traffic-cap",
        limit=lambda policy: policy.monthly_traffic_gb,
        is_beyond=operator.ge,
        level=lambda traffic_bytes: traffic_bytes / GIGABYTE,
        words=lambda gigabytes: f"{gigabytes:.1f} GB of traffic this month",
        limit_name="the cap",
        unit="GB",
    ),
    _ThresholdRule(
        condition=Condition.BATTERY_FLOOR_PERCENT,
        code="battery-low",
        limit=lambda policy: policy.battery_floor_percent,
        resume=lambda policy: policy.battery_begin_percent,
        is_beyond=operator.lt,
        words=lambda percent: f"battery is at {_figure(percent)} %",
        limit_name="the floor",
        unit="%",
    ),
    _ThresholdRule(
        condition=Condition.BATTERY_MAX_CELSIUS,
        code="battery-hot",
        limit=lambda policy: policy.battery_max_celsius,
        resume=lambda policy: policy.battery_begin_celsius,
        is_beyond=operator.gt,
        words=lambda celsius: f"the battery has {_figure(celsius)} °C",
        limit_name="the limit",
        unit="°C",
    ),
    _ThresholdRule(
        condition=Condition.MACHINE_MAX_CELSIUS,
        code="machine-hot",
        limit=lambda policy: policy.machine_max_celsius,
        resume=lambda policy: policy.machine_begin_celsius,
        is_beyond=operator.gt,
        words=lambda celsius: f"the machine has {_figure(celsius)} °C",
        limit_name="the limit",
        unit="°C",
    ),
)


def signal_causes(
    policy: Policy, known: Mapping[Signal, CertainReading], *, running: bool
) -> Iterator[Cause]:
    """A cause for each rule that the readings break. `known` has no signal that the policy doesn't need."""
    for state in _STATES:
        reading = known.get(SIGNAL_OF[state.condition])
        if reading is not None and not state.is_met(policy, reading.value):
            words = reading.words or state.words(printable(str(reading.value)))
            yield Cause(code=state.code, words=words, action=policy.action_of(state.condition))
    for threshold in _THRESHOLDS:
        reading = known.get(SIGNAL_OF[threshold.condition])
        limit = threshold.limit(policy)
        if reading is not None and limit is not None:
            yield from _crossed(policy, threshold, threshold.level(reading.number), limit, running=running)


def _crossed(
    policy: Policy, rule: _ThresholdRule, level: float, limit: float, *, running: bool
) -> Iterator[Cause]:
    if rule.is_beyond(level, limit):
        words = f"{rule.words(level)}, {rule.limit_name} is {limit:g} {rule.unit}"
        yield Cause(code=rule.code, words=words, action=policy.action_of(rule.condition))
    elif not running and rule.resume is not None and rule.is_beyond(level, rule.resume(policy)):
        words = f"{rule.words(level)}, work begins at {rule.resume(policy):g} {rule.unit}"
        yield Cause(code=rule.code, words=words, action=Action.DRAIN)


def _figure(number: float) -> str:
    return f"{round(number, 1):g}"
