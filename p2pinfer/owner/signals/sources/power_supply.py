"""How a machine on Linux is powered: its batteries and chargers, by their files in /sys/class/power_supply.

Names such as `BAT0` or `ADP1` say nothing certain, so no name is looked at. What the files mean:
https://docs.kernel.org/admin-guide/abi-testing.html (sysfs-class-power, sysfs-class-typec).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.owner.plain_file import read_plain_file
from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.trouble import NAME_ANOTHER, NO_INSTRUMENT, SourceError
from p2pinfer.plain_text import printable

ROOT = Path("/sys/class/power_supply")
_ATTEMPTS = 3  # a charger that is pulled out, or a busy controller, spoils a look
_MOST_BYTES = 4096  # the kernel writes at most a page
_POSITIVE = ("energy_full", "charge_full")  # a broken controller reports that its full battery holds nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """An entry of the folder. Only files that exist and could be read are in `files`."""

    name: str
    files: Mapping[str, str]
    unreadable: frozenset[str] = frozenset()
    """The files that exist, and can't be read."""
    gives_power: bool = False
    """True if all of its USB-C ports power other devices: what it says of `online` isn't about our power."""

    @property
    def kind(self) -> str:
        """Its `type`, such as Battery, Mains or USB; empty if it can't be read."""
        return self.files.get("type", "")

    @property
    def is_of_a_device(self) -> bool:
        """True for the battery of a mouse, a phone or a pen, and for its charger."""
        return self.files.get("scope", "").casefold() == "device"

    def number(self, name: str) -> int | None:
        """The whole number in a file; None if there is none."""
        try:
            number = int(self.files.get(name, ""))
        except ValueError:
            return None
        return number if number >= (1 if name in _POSITIVE else 0) else None


def plugged_in(root: Path = ROOT) -> Told:
    """Whether the machine is plugged in. Raises SourceError if that can't be told."""
    return _answer(plugged_in_by, root)


def battery_percent(root: Path = ROOT) -> Told:
    """How full the machine's batteries are, together. Raises SourceError if that can't be told."""
    return _answer(battery_percent_by, root)


def has_battery(root: Path = ROOT) -> bool:
    """True if this machine has a battery of its own, as far as its supplies can be read."""
    try:
        return any(_is_battery(supply) for supply in _supplies(root))
    except SourceError:
        return False


def plugged_in_by(supplies: Sequence[Supply]) -> Told:
    """Whether a machine with these supplies is plugged in.

    A supply that is online means yes. Without one, a battery that discharges means no; all other batteries
    mean yes: a full battery says `Full` or `Not charging`, and some controllers say `Unknown`. A machine
    without a battery is plugged in. Raises SourceError if the answer depends on what can't be read.
    """
    ours = [supply for supply in supplies if not supply.is_of_a_device]
    batteries = [supply for supply in ours if _is_battery(supply)]
    others = [supply for supply in ours if supply.kind not in ("Battery", "") and not supply.gives_power]
    if any(_is_online(supply) for supply in others):
        return Told(value=True, words="this machine is plugged in")
    _raise_first(supply for supply in ours if _hides(supply, "type", "scope"))
    if any(_discharges(supply) for supply in (*batteries, *others)):
        _raise_first(supply for supply in others if _hides(supply, "online"))
        return Told(value=False, words="this machine runs on its battery")
    _raise_first(supply for supply in batteries if _hides(supply, "present", "status"))
    if silent := [supply for supply in batteries if "status" not in supply.files]:
        raise _silent(silent[0], "whether it is being charged")
    if not batteries:
        return Told(value=True, words="this machine has no battery")
    return Told(value=True, words="this machine is plugged in")


def battery_percent_by(supplies: Sequence[Supply]) -> Told:
    """How full the batteries among these supplies are, together; a machine without one counts as full.

    Raises SourceError if one of them doesn't tell.
    """
    ours = [supply for supply in supplies if not supply.is_of_a_device]
    _raise_first(supply for supply in ours if _hides(supply, "type", "scope"))
    _raise_first(supply for supply in ours if supply.kind == "Battery" and _hides(supply, "present"))
    batteries = [supply for supply in supplies if _is_battery(supply)]
    if not batteries:
        return Told(value=100.0, words="this machine has no battery")
    percent = min(100.0, _percent_of_all(batteries))
    subject = "the battery is" if len(batteries) == 1 else f"the {len(batteries)} batteries are together"
    return Told(value=percent, words=f"{subject} at {percent:.0f} %")


def _percent_of_all(batteries: Sequence[Supply]) -> float:
    for unit in ("energy", "charge"):
        levels = [_level(battery, unit) for battery in batteries]
        if all(level is not None for level in levels):
            now, full = (sum(level[part] for level in levels if level) for part in (0, 1))
            return 100.0 * now / full
    # Batteries that say different things: each counts by the energy that it holds when it is full, and one
    # that doesn't tell its size counts as an average one.
    known = [size for battery in batteries if (size := _size(battery)) is not None]
    average = sum(known) / len(known) if known else 1.0
    sizes = [average if (size := _size(battery)) is None else size for battery in batteries]
    filled = sum(_percent_of(battery) * size for battery, size in zip(batteries, sizes, strict=True))
    return filled / sum(sizes)


def _percent_of(battery: Supply) -> float:
    for unit in ("energy", "charge"):
        if (level := _level(battery, unit)) is not None:
            return min(100.0, 100.0 * level[0] / level[1])
    if (capacity := battery.number("capacity")) is not None:
        return min(100.0, float(capacity))
    if battery.unreadable:
        raise _unreadable(battery)
    raise _silent(battery, "how full it is")


def _level(battery: Supply, unit: str) -> tuple[int, int] | None:
    """What the battery holds now, and when it is full, in µWh (`energy`) or µAh (`charge`)."""
    now, full = battery.number(f"{unit}_now"), battery.number(f"{unit}_full")
    return None if now is None or full is None else (min(now, full), full)


def _size(battery: Supply) -> float | None:
    """The energy of the full battery in µWh."""
    if (energy := battery.number("energy_full")) is not None:
        return float(energy)
    charge = battery.number("charge_full")
    microvolts = battery.number("voltage_min_design") or battery.number("voltage_now")
    return charge * microvolts / 1e6 if charge and microvolts else None


def _is_battery(supply: Supply) -> bool:
    """True for a battery of the machine that is there: an empty bay says `present` 0."""
    return supply.kind == "Battery" and not supply.is_of_a_device and supply.number("present") != 0


def _is_online(supply: Supply) -> bool:
    """True if the supply powers the machine. 1 is a fixed voltage, 2 a negotiated one."""
    # A UPS that discharges is online, but the mains aren't.
    return bool(supply.number("online")) and not _discharges(supply)


def _discharges(supply: Supply) -> bool:
    """True for a battery, or a UPS, that powers the machine. The status of a charger says less."""
    return supply.kind in ("Battery", "UPS") and supply.files.get("status", "").casefold() == "discharging"


def _hides(supply: Supply, *names: str) -> bool:
    """True if one of these files can't be read, or holds nothing. Every entry has a `type`."""
    return not supply.kind or any(name in supply.unreadable or supply.files.get(name) == "" for name in names)


def _raise_first(supplies: Iterable[Supply]) -> None:
    for supply in supplies:
        raise _unreadable(supply)


def _unreadable(supply: Supply) -> SourceError:
    words = f"the power supply {printable(supply.name, 40)} can't be read"
    return SourceError(words, kind="not read", advice=NAME_ANOTHER)


def _silent(battery: Supply, what: str) -> SourceError:
    words = f"the battery {printable(battery.name, 40)} doesn't say {what}"
    return SourceError(words, kind="unknown", advice=NAME_ANOTHER)


def _answer(question: Callable[[Sequence[Supply]], Told], root: Path) -> Told:
    """The answer by the files in `root`, read again if an entry was being removed, or busy."""
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(SourceError):
            return question(_supplies(root))
    return question(_supplies(root))


def _supplies(root: Path) -> list[Supply]:
    """All entries. Raises SourceError if their list can't be read."""
    try:
        return [_read(root / name) for name in sorted(os.listdir(root))]
    except FileNotFoundError:
        if root.parent.exists():  # a kernel without this class, as on many small boards
            return []
        raise SourceError(
            f"there is no {root.parent} here", kind=NO_INSTRUMENT, advice=NAME_ANOTHER
        ) from None
    except OSError as error:
        words = f"{root} can't be read ({error.strerror})"
        raise SourceError(words, kind="not read", advice=NAME_ANOTHER) from None


_FILES = (
    "type",
    "scope",
    "present",
    "status",
    "online",
    "capacity",
    "energy_now",
    "energy_full",
    "charge_now",
    "charge_full",
    "voltage_min_design",
    "voltage_now",
)


def _read(entry: Path) -> Supply:
    files, unreadable = {}, set()
    for name in _FILES:
        try:
            files[name] = _text(entry / name)
        except FileNotFoundError:
            continue
        except OSError:
            unreadable.add(name)
    return Supply(
        name=entry.name,
        files=files,
        unreadable=frozenset(unreadable),
        gives_power=files.get("type") == "USB" and _ports_give_power(entry),
    )


def _ports_give_power(entry: Path) -> bool:
    """True if all USB-C ports of this supply power other devices: each says `[source] sink`."""
    roles = []
    for port in (entry / "device" / "typec").glob("*/power_role"):
        with contextlib.suppress(OSError):
            roles.append(_text(port))
    return bool(roles) and all("[source]" in role for role in roles)


def _text(path: Path) -> str:
    content, _ = read_plain_file(path, most_bytes=_MOST_BYTES)
    return content.decode(errors="replace").strip()
