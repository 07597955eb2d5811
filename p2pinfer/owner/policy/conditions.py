"""The conditions that an owner can set, by the names that they have in the owner's file."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from p2pinfer.owner.signals.readings import Signal


class InUse(StrEnum):
    """What to do while somebody uses the machine."""

    IGNORE = "ignore"
    LIMIT = "limit"  # go on with a smaller share of the processors
    DRAIN = "drain"
    STOP = "stop"


class Condition(StrEnum):
    """What an owner can ask for, named as in the owner's file."""

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
"""What a condition needs to know, besides the time. A price limit needs a signal for some tariffs only."""

HAZARDS = frozenset({Condition.BATTERY_MAX_CELSIUS, Condition.MACHINE_MAX_CELSIUS})
"""Where something may break: they stop the work at once. At all others a minute more does no harm."""
