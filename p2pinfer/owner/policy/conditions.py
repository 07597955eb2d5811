"""The conditions that an owner can set, named as in policy.toml, and what to do when one isn't met."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from p2pinfer.owner.signals.readings import Signal


class InUse(StrEnum):
    """What to do while somebody uses the machine."""

    IGNORE = "ignore"
    LIMIT = "limit"  # work on with a smaller share of the processors
    DRAIN = "drain"
    STOP = "stop"


class Action(StrEnum):
    """What to do, from the mildest to the strictest."""

    RUN = "run"
    DRAIN = "drain"  # sessions move to other servers, then the work ends
    STOP = "stop"  # at once

    @property
    def strictness(self) -> int:
        """Larger is stricter."""
        return (Action.RUN, Action.DRAIN, Action.STOP).index(self)


class Condition(StrEnum):
    """What an owner can ask for."""

    PARKED = "parked"
    PLUGGED_IN = "plugged_in"
    UNMETERED = "unmetered"
    WIFI = "wifi"
    PLACES = "places"
    HOURS = "hours"
    MAX_PRICE = "max_price"
    BATTERY_FLOOR_PERCENT = "battery_floor_percent"
    BATTERY_MAX_CELSIUS = "battery_max_celsius"
    MACHINE_MAX_CELSIUS = "machine_max_celsius"
    MONTHLY_TRAFFIC_GB = "monthly_traffic_gb"
    EXCLUSIVE_PROGRAMS = "exclusive_programs"
    IN_USE = "in_use"


SIGNAL_OF: Mapping[Condition, Signal] = {
    Condition.PARKED: Signal.PARKED,
    Condition.PLUGGED_IN: Signal.PLUGGED_IN,
    Condition.UNMETERED: Signal.UNMETERED,
    Condition.WIFI: Signal.WIFI,
    Condition.PLACES: Signal.PLACE,
    Condition.BATTERY_FLOOR_PERCENT: Signal.BATTERY_PERCENT,
    Condition.BATTERY_MAX_CELSIUS: Signal.BATTERY_CELSIUS,
    Condition.MACHINE_MAX_CELSIUS: Signal.MACHINE_CELSIUS,
    Condition.MONTHLY_TRAFFIC_GB: Signal.TRAFFIC_BYTES,
    Condition.EXCLUSIVE_PROGRAMS: Signal.PROGRAM,
    Condition.IN_USE: Signal.IN_USE,
}
"""The signal that a condition depends on. Hours need none; a price limit needs one for some tariffs only."""

HAZARDS = frozenset({Condition.BATTERY_MAX_CELSIUS, Condition.MACHINE_MAX_CELSIUS})
"""Conditions that protect hardware: they stop the work at once. For all others a minute more does no harm."""
