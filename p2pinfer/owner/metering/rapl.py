"""The processor's energy counters in Linux's powercap folder. On most systems only root may read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POWERCAP_FOLDER = Path("/sys/class/powercap")

MAX_PACKAGE_WATTS = 1000.0
"""No package draws more. A counter that shows more was reset, as some are while the machine sleeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageEnergy:
    """The counter of one package. At the end of its range it starts again at 0."""

    name: str
    microjoules: int
    range_microjoules: int


def read_packages(folder: Path = POWERCAP_FOLDER) -> tuple[PackageEnergy, ...]:
    """The counters of all packages; empty if there are none, or if one of them can't be read.

    Packages only: they include cores and graphics, and psys is the whole machine, which includes them. (AMD's
    processors are called intel-rapl too; intel-rapl-mmio shows the same counters again.)
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
    """What all packages together have drawn in this time, in joules.

    None if it can't be known: there are other packages than before, a counter was reset, or a counter may
    have started again more than once.
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
