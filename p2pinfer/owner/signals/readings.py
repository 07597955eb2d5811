"""Signals: what a policy may ask about the car, the machine and the home, and the values that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Value = bool | float | str


class Signal(StrEnum):
    """The signals, by their names in the owner's file, which names a source for each."""

    PARKED = "parked"  # bool
    PLUGGED_IN = "plugged_in"  # bool
    UNMETERED = "unmetered"  # bool: the network costs nothing by the byte
    WIFI = "wifi"  # str: name of the network; empty: no Wi-Fi
    PLACE = "place"  # str: where the car is, by the owner's name for it (a geofence)
    IN_USE = "in_use"  # bool: somebody uses the machine, or sits in the car
    PROGRAM = "program"  # str: the exclusive program that runs; empty: none
    BATTERY_PERCENT = "battery_percent"  # float
    BATTERY_CELSIUS = "battery_celsius"  # float
    MACHINE_CELSIUS = "machine_celsius"  # float
    PRICE = "price"  # float: price of a kWh, in the policy's currency
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
"""The type of each signal's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A signal's value, and how fresh it is."""

    value: Value
    at: float  # Unix seconds; when it was last known to hold
    words: str = ""  # for people, by its source: `gear is D`; may be empty
    origin: str = ""  # its source: `mqtt teslamate/cars/1/shift_state`


Readings = Mapping[Signal, Reading]
"""The signals that are known now. The others were never heard of, or were withdrawn by their source."""
