"""Signals: what the policy asks about the car, the machine and the home, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Value = bool | float | str


class Signal(StrEnum):
    """What can be known. The owner's file names them so, and says where each comes from."""

    PARKED = "parked"  # bool
    PLUGGED_IN = "plugged_in"  # bool
    UNMETERED = "unmetered"  # bool: the network costs nothing by the byte
    WIFI = "wifi"  # str: name of the network; empty: on none
    PLACE = "place"  # str: where the car is, as its owner calls it (a geofence)
    IN_USE = "in_use"  # bool: somebody uses the machine, or sits in the car
    PROGRAM = "program"  # str: one of the exclusive programs that runs; empty: none
    BATTERY_PERCENT = "battery_percent"  # float
    BATTERY_CELSIUS = "battery_celsius"  # float
    MACHINE_CELSIUS = "machine_celsius"  # float
    PRICE = "price"  # float: of a kWh, in the policy's currency
    WATTS = "watts"  # float: what the machine draws now
    TRAFFIC_BYTES = "traffic_bytes"  # float: sent and received this month


KINDS: Mapping[Signal, type[Value]] = {
    Signal.PARKED: bool,
    Signal.PLUGGED_IN: bool,
    Signal.UNMETERED: bool,
    Signal.WIFI: str,
    Signal.PLACE: str,
    Signal.IN_USE: bool,
    Signal.PROGRAM: str,
    Signal.BATTERY_PERCENT: float,
    Signal.BATTERY_CELSIUS: float,
    Signal.MACHINE_CELSIUS: float,
    Signal.PRICE: float,
    Signal.WATTS: float,
    Signal.TRAFFIC_BYTES: float,
}
"""What a signal's value is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A signal's value, and how fresh it is."""

    value: Value
    at: float  # Unix seconds; when it was last known to hold
    words: str = ""  # as its source puts it, for people: `gear is D`; empty: nothing better than the value
    origin: str = ""  # where it comes from: `mqtt teslamate/cars/1/shift_state`


Readings = Mapping[Signal, Reading]
"""What is known now. A signal that isn't in it has never been heard of, or its source has withdrawn it."""
