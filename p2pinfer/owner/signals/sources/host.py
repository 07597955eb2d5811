"""What this machine says of itself: battery, temperature, programs. By psutil; each look may block."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import psutil

from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.trouble import SourceError

_HOTTEST_CELSIUS = 150.0  # beyond it, and below zero, it is the sensor that is broken
_COMM_CHARACTERS = 15  # of a process's name, in /proc/PID/comm


class Battery(Protocol):
    """As psutil has it."""

    @property
    def percent(self) -> float:
        """How full it is."""

    @property
    def power_plugged(self) -> bool | None:
        """None: the machine doesn't know."""


class Terminal(NamedTuple):
    """A terminal that somebody is logged in at."""

    name: str
    device: str  # empty: none that tells of input, as with X11's `:0`


def plugged_in() -> Told:
    """Whether the machine runs on mains."""
    return plugged_in_by(psutil.sensors_battery())


def plugged_in_by(battery: Battery | None) -> Told:
    """As said by the battery. A machine without one can't run on it."""
    if battery is None:
        return Told(value=True, words="this machine has no battery")
    if battery.power_plugged is None:
        raise SourceError("the battery doesn't say whether it is being charged", kind="unknown")
    words = "this machine is plugged in" if battery.power_plugged else "this machine runs on its battery"
    return Told(value=bool(battery.power_plugged), words=words)


def battery_percent() -> Told:
    """How full the battery is."""
    return battery_percent_by(psutil.sensors_battery())


def battery_percent_by(battery: Battery | None) -> Told:
    """As said by the battery. A machine without one has no floor to keep."""
    if battery is None:
        return Told(value=100.0, words="this machine has no battery")
    if not (math.isfinite(battery.percent) and battery.percent >= 0):
        raise SourceError("the battery doesn't say how full it is", kind="unknown")
    return Told(value=float(battery.percent), words=f"the battery is at {battery.percent:.0f} %")


def machine_celsius() -> Told:
    """The hottest sensor's temperature."""
    sensors = getattr(psutil, "sensors_temperatures", None)  # Linux and FreeBSD only
    readings = sensors() if sensors is not None else {}
    return hottest((chip, sensor.current) for chip, found in readings.items() for sensor in found)


def hottest(sensors: Iterable[tuple[str, float]]) -> Told:
    """Out of chips and their temperatures. Raises SourceError if there is no sensor that can be believed."""
    plausible = [(celsius, chip) for chip, celsius in sensors if 0 < celsius <= _HOTTEST_CELSIUS]
    if not plausible:
        raise SourceError("this machine has no temperature sensor", kind="no sensor")
    celsius, chip = max(plausible)
    return Told(value=float(celsius), words=f"the hottest sensor ({chip}) is at {celsius:.0f} °C")


def program(wanted: Sequence[str]) -> Told:
    """The first of these programs that runs, by name, whole or cut as the kernel does; empty if none does."""
    running = _running(wanted) if wanted else frozenset()
    for name in wanted:
        if name.casefold() in running:
            return Told(value=name, words=f"{name} is running")
    return Told(value="", words="no exclusive program is running")


def terminals() -> list[Terminal]:
    """Where people are logged in, by the machine's own list, which newer systems no longer keep."""
    names = (user.terminal for user in psutil.users())
    return [Terminal(name, "" if name.startswith(":") else f"/dev/{name}") for name in names if name]


def _running(wanted: Sequence[str]) -> frozenset[str]:
    """Which of these names some process has, in lower case."""
    names = {name.casefold() for name in wanted}
    if not sys.platform.startswith("linux"):
        return frozenset(process.info["name"].casefold() for process in psutil.process_iter(["name"])) & names
    # psutil takes 60 us for a process, this a fifth of it: there are hundreds, and nobody may notice us.
    # The kernel cuts names; only those that begin like a wanted one are worth a second look.
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
