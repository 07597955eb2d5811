"""The network cards of this machine, as the system tells of them."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from p2pinfer.swarm.reach.dialable import IPNetwork

_BRIDGES = re.compile(r"(docker|br-|veth|virbr|cni|flannel|cali|podman|lxc|lxd|vnet|vmnet|vboxnet)")
"""Names of what containers and virtual machines are connected with: nobody else reaches their networks."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of one network card."""

    name: str
    network: ipaddress.IPv4Interface | ipaddress.IPv6Interface

    @property
    def is_bridge(self) -> bool:
        """True if it leads to containers or virtual machines of this machine."""
        return _BRIDGES.match(self.name) is not None


def interfaces() -> list[Interface]:
    """All addresses of this machine; none if the system doesn't tell."""
    try:
        cards = psutil.net_if_addrs()
    except OSError:
        return []
    found = []
    for name, addresses in cards.items():
        for one in addresses:
            if one.family in (socket.AF_INET, socket.AF_INET6):
                text = one.address.partition("%")[0]
                mask = _prefix(one.netmask) if one.netmask else ""
                try:
                    found.append(Interface(name, ipaddress.ip_interface(f"{text}{mask}")))
                except ValueError:
                    continue
    return found


def _prefix(netmask: str) -> str:
    """`/24` for a mask of either family. `ipaddress` reads masks of IPv4 only."""
    try:
        bits = int(ipaddress.ip_address(netmask))
    except ValueError:
        return ""
    return f"/{bits.bit_count()}"


def networks(found: Iterable[Interface]) -> tuple[list[IPNetwork], list[IPNetwork]]:
    """The networks of the real cards, and those of bridges to containers."""
    own: list[IPNetwork] = []
    bridges: list[IPNetwork] = []
    for one in found:
        (bridges if one.is_bridge else own).append(one.network.network)
    return list(dict.fromkeys(own)), list(dict.fromkeys(bridges))


def has_ipv6() -> bool:
    """True if programs can listen on IPv6 here, and some network card has an IPv6 address for others."""
    has_address = any(
        one.network.version == 6 and not one.network.ip.is_loopback and not one.network.ip.is_link_local
        for one in interfaces()
    )
    if not has_address or not socket.has_dualstack_ipv6():
        return False
    try:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True):
            return True
    except OSError:
        return False
