"""A network on one machine: hosts in namespaces of their own, joined by links with delay, rate and loss, and
home routers before some of them.

with WanLab() as lab:
    car = lab.add_host("car-1", PROFILES["home-cable"])
    subprocess.Popen([*car.prefix, "program", "--listen", car.address])
    lab.cut("car-1")

It needs the standard library, p2pinfer's own error and folder modules, Linux, root and a C++ compiler.
`docs/wan-lab.md` defines what a link does.
"""

from __future__ import annotations

from scripts.lab.counters import DirectionCounters, HostCounters
from scripts.lab.errors import LabError, LabUnavailableError
from scripts.lab.homes.home_router import LabRouter
from scripts.lab.homes.kinds import RouterKind
from scripts.lab.hosts import LabHost
from scripts.lab.lab import WanLab
from scripts.lab.links import PROFILES, Direction, Link

__all__ = [
    "PROFILES",
    "Direction",
    "DirectionCounters",
    "HostCounters",
    "LabError",
    "LabHost",
    "LabRouter",
    "LabUnavailableError",
    "Link",
    "RouterKind",
    "WanLab",
]
