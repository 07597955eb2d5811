"""What this machine knows of itself: battery, temperature, programs. Each look may block."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import psutil

from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.sources import power_supply
from p2pinfer.owner.signals.trouble import NAME_ANOTHER, NO_INSTRUMENT, SourceError

_HOTTEST_CELSIUS = 150.0  # a sensor above this, or below zero, is broken
_COMM_CHARACTERS = 15  # the length to which /proc/PID/comm cuts a name


class Battery(Protocol):
    """What psutil tells of a battery."""

    @property
    def percent(self) -> float:
        """How full the battery is."""

    @property
    def power_plugged(self) -> bool | None:
        """True if the machine is plugged in; None if it doesn't know."""


class Terminal(NamedTuple):
    """A terminal with a login."""

    name: str
    device: str  # empty if there is no device that shows input, as for X11's `:0`


def plugged_in() -> Told:
    """Whether the machine runs on mains power. Raises SourceError."""
    if sys.platform == "linux":  # where psutil guesses by names
        return power_supply.plugged_in()
    return plugged_in_by(psutil.sensors_battery())


def plugged_in_by(battery: Battery | None) -> Told:
    """The same from psutil's reading. A machine without a battery counts as plugged in."""
    if battery is None:
        return Told(value=True, words="this machine has no battery")
    if battery.power_plugged is None:
        raise SourceError("the battery doesn't say whether it is being charged", kind="unknown")
    words = "this machine is plugged in" if battery.power_plugged else "this machine runs on its battery"
    return Told(value=bool(battery.power_plugged), words=words)


def battery_percent() -> Told:
    """How full the battery is. Raises SourceError."""
    if sys.platform == "linux":
        return power_supply.battery_percent()
    return battery_percent_by(psutil.sensors_battery())


def has_battery() -> bool:
    """True if this machine can run on a battery of its own."""
    if sys.platform == "linux":
        return power_supply.has_battery()
    try:
        return psutil.sensors_battery() is not None
    except (AttributeError, OSError):  # psutil can tell on some systems only
        return False


def battery_percent_by(battery: Battery | None) -> Told:
    """The same from psutil's reading. A machine without a battery counts as full."""
    if battery is None:
        return Told(value=100.0, words="this machine has no battery")
    if not (math.isfinite(battery.percent) and battery.percent >= 0):
        raise SourceError("the battery doesn't say how full it is", kind="unknown")
    return Told(value=float(battery.percent), words=f"the battery is at {battery.percent:.0f} %")


def machine_celsius() -> Told:
    """The temperature of the hottest sensor. Raises SourceError."""
    sensors = getattr(psutil, "sensors_temperatures", None)  # Linux and FreeBSD only
    readings = sensors() if sensors is not None else {}
    return hottest((chip, sensor.current) for chip, found in readings.items() for sensor in found)


def hottest(sensors: Iterable[tuple[str, float]]) -> Told:
    """The highest plausible temperature of these chips. Raises SourceError if there is none."""
    plausible = [(celsius, chip) for chip, celsius in sensors if 0 < celsius <= _HOTTEST_CELSIUS]
    if not plausible:
        raise SourceError("this machine has no temperature sensor", kind=NO_INSTRUMENT, advice=NAME_ANOTHER)
    celsius, chip = max(plausible)
    return Told(value=float(celsius), words=f"the hottest sensor ({chip}) is at {celsius:.0f} °C")


def program(wanted: Sequence[str]) -> Told:
    """The first of these programs that runs, empty if none does. Names may be cut as the kernel does."""
    running = _running(wanted) if wanted else frozenset()
    for name in wanted:
        if name.casefold() in running:
            return Told(value=name, words=f"{name} is running")
    return Told(value="", words="no exclusive program is running")


def terminals() -> list[Terminal]:
    """Terminals with a login, by the machine's own list, which newer systems no longer keep."""
    names = (user.terminal for user in psutil.users())
    return [Terminal(name, "" if name.startswith(":") else f"/dev/{name}") for name in names if name]


def _running(wanted: Sequence[str]) -> frozenset[str]:
    """Those of these names that processes have, in lower case."""
    names = {name.casefold() for name in wanted}
    if not sys.platform.startswith("linux"):
        return frozenset(process.info["name"].casefold() for process in psutil.process_iter(["name"])) & names
    # psutil takes 60 us for each of hundreds of processes; this takes a fifth of that. The kernel cuts
    # names, so a name that begins like a wanted one is looked up in full.
    beginnings = {name[:_COMM_CHARACTERS] for name in names}
    found = set()
    for pid in psutil.pids():
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                beginning = file.read().rstrip("\n").casefold()
            if beginning in beginnings:
                found.add(psutil.Process(pid).name().casefold() if beginning not in names else beginning)
        except (OSError, psutil.Error):
            continue  # it has ended meanwhile
    return frozenset(found & names)
