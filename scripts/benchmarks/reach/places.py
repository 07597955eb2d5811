"""Where the processes of bench_reach live: hosts of the lab, in the open or behind a router of their own."""

from __future__ import annotations

from scripts.benchmarks.reach.plan import IPV6, IPV6_ONLY
from scripts.lab import LabHost, Link, RouterKind, WanLab


def settle(lab: WanLab, name: str, link: Link, kind: str) -> LabHost:
    """Make a host in a home of this kind. Raises LabUnavailableError if this machine can't have one."""
    if kind == IPV6:
        router = lab.add_router(f"{name}-router", link, RouterKind.HOME, ipv6=True, firewall6=False)
        return router.add_host(name)
    if kind == IPV6_ONLY:
        return lab.add_host(name, link, ipv4=False, ipv6=True)
    return lab.add_home(name, link, RouterKind(kind))


def settle_in_public(lab: WanLab, name: str, link: Link) -> LabHost:
    """Make a host that everybody reaches, by IPv4 and IPv6."""
    return lab.add_host(name, link, ipv6=True)
