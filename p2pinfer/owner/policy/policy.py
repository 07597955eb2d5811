"""The owner's rules, as data: what the machine needs before it may work, and how much the work may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pinfer.owner.policy.conditions import HAZARDS, SIGNAL_OF, Action, Condition, InUse
from p2pinfer.owner.policy.hours import Window
from p2pinfer.owner.policy.tariff import Tariff
from p2pinfer.owner.signals.config import SignalsConfig
from p2pinfer.owner.signals.readings import Signal

_RESUME_PERCENT = 5.0  # above the floor, if the owner names no resume level
_RESUME_CELSIUS = 5.0  # below the limit, if the owner names no resume level


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How much the machine gives of the files of its layers. Sharing() has no limits of its own."""

    enabled: bool = True
    monthly_gb: float | None = None  # a part of `monthly_traffic_gb`, not on top of it
    mbit_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaying:
    """How much the machine passes on between others whose routers let nobody in.

    A byte that is passed on is received and sent: both count in `Policy.monthly_traffic_gb`. The defaults
    are a quarter of a home's uplink of 20 Mbit/s, and a hundred hours a month of a session of a small model.
    """

    enabled: bool = True
    monthly_gb: float = 50.0
    mbit_per_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The owner's rules. Policy() has no conditions: it always allows work."""

    parked: bool = False
    plugged_in: bool = False
    unmetered: bool = False
    wifi: tuple[str, ...] = ()  # names of allowed networks; empty: any network, also none
    places: tuple[str, ...] = ()  # empty: anywhere
    hours: tuple[Window, ...] = ()  # empty: always
    max_price: float | None = None  # of a kWh, in `currency`
    battery_floor_percent: float | None = None
    battery_resume_percent: float | None = None  # None: 5 above the floor
    battery_max_celsius: float | None = None
    battery_resume_celsius: float | None = None  # None: 5 below the limit
    machine_max_celsius: float | None = None
    machine_resume_celsius: float | None = None
    monthly_traffic_gb: float | None = None
    in_use: InUse = InUse.IGNORE
    cpu_share_in_use: float = 0.25  # with InUse.LIMIT
    cpu_share: float = 1.0
    max_watts: float | None = None
    sharing: Sharing = field(default_factory=Sharing)
    relaying: Relaying = field(default_factory=Relaying)
    currency: str = "EUR"
    tariff: Tariff = field(default_factory=Tariff)
    watts_per_core: float = 8.0  # what a busy core draws, for estimates where nothing measures
    idle_watts: float = 0.0  # what the idle machine draws: not a cost of the work
    drain_seconds: float = 60.0  # how long sessions have to move to other servers
    stale_seconds: float = 60.0  # how old a reading may be
    actions: Mapping[Condition, Action] = field(default_factory=dict)  # other than the defaults
    signals: SignalsConfig = field(default_factory=SignalsConfig)

    @property
    def exclusive_programs(self) -> tuple[str, ...]:
        """Names of programs that need the whole machine: while one of them runs, no work is done."""
        return self.signals.exclusive_programs

    @property
    def battery_begin_percent(self) -> float:
        """The charge at which work may begin; never below the floor."""
        floor = self.battery_floor_percent or 0.0
        resume = self.battery_resume_percent
        return max(floor, min(100.0, floor + _RESUME_PERCENT) if resume is None else resume)

    @property
    def battery_begin_celsius(self) -> float:
        """The battery temperature at which work may begin; never above the limit."""
        return _begin_celsius(self.battery_max_celsius, self.battery_resume_celsius)

    @property
    def machine_begin_celsius(self) -> float:
        """The machine temperature at which work may begin; never above the limit."""
        return _begin_celsius(self.machine_max_celsius, self.machine_resume_celsius)

    def conditions(self) -> tuple[Condition, ...]:
        """The conditions that the owner has set."""
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
        """The signals without which no work is done.

        Not the watts: a cap works with an estimate too. Not `in_use` where it only limits the work: the limit
        holds while it isn't known.
        """
        limited = {Signal.IN_USE} if self.in_use is InUse.LIMIT else set()
        return self.used_signals() - limited

    def used_signals(self) -> frozenset[Signal]:
        """The signals that the conditions look at."""
        used = {SIGNAL_OF[condition] for condition in self.conditions() if condition in SIGNAL_OF}
        if self.max_price is not None and self.tariff.from_signal:
            used.add(Signal.PRICE)
        return frozenset(used)

    def action_of(self, condition: Condition) -> Action:
        """What to do when `condition` isn't met."""
        if condition is Condition.IN_USE:
            return Action.STOP if self.in_use is InUse.STOP else Action.DRAIN
        return self.actions.get(condition, Action.STOP if condition in HAZARDS else Action.DRAIN)


def _begin_celsius(limit: float | None, resume: float | None) -> float:
    limit = math.inf if limit is None else limit
    return min(limit, limit - _RESUME_CELSIUS if resume is None else resume)
