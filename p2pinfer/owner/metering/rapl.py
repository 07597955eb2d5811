"""The processor's energy counters, as Linux's powercap shows them. Mostly only root may read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POWERCAP_FOLDER = Path("/sys/class/powercap")

MAX_PACKAGE_WATTS = 1000.0
"""No package draws more: a counter that says so was reset, as some are while the machine sleeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageEnergy:
    """One package's counter, which begins again at 0 beyond its range."""

    name: str
    microjoules: int
    range_microjoules: int


def read_packages(folder: Path = POWERCAP_FOLDER) -> tuple[PackageEnergy, ...]:
    """The counters of all packages; none if there are none, or if one of them can't be read.

    Only packages: cores and graphics are in them already, and psys is the whole machine of which they are
    a part. (intel-rapl is its name on AMD's processors too; intel-rapl-mmio shows the same counter again.)
    """
    packages = []
    try:
        for zone in sorted(folder.glob("intel-rapl:*")):
            if (zone / "name").read_text().startswith("package"):
                packages.append(
                    PackageEnergy(
                        name=zone.name,
                        microjoules=int((zone / "energy_uj").read_text()),
                        range_microjoules=int((zone / "max_energy_range_uj").read_text()),
                    )
                )
    except (OSError, ValueError):
        return ()
    return tuple(packages)


def joules_drawn(
    before: Sequence[PackageEnergy], after: Sequence[PackageEnergy], seconds: float
) -> float | None:
    """What the packages have drawn together in that time.

    None if that can't be known: other packages than before, a counter that was reset, or one that may have
    begun again more than once.
    """
    if not before or [package.name for package in before] != [package.name for package in after]:
        return None
    most = MAX_PACKAGE_WATTS * seconds * 1e6
    total = 0
    for earlier, later in zip(before, after, strict=True):
        drawn = later.microjoules - earlier.microjoules
        if drawn < 0:
            drawn += later.range_microjoules
        if not 0 <= drawn <= most or most > later.range_microjoules:
            return None
        total += drawn
    return total / 1e6
