"""The addresses of the lab. They look public: libp2p, and our own rules of what may be dialled, treat private
prefixes and those for documentation as unroutable. Nothing can leave the lab's namespaces."""

from __future__ import annotations

from dataclasses import dataclass

IPV4_NETWORK = "11.77"
IPV4_PREFIX = 16
IPV6_NETWORK = "2a0d:77:0"  # router_source/router.hpp has both networks, too
IPV6_WIRE_PREFIX = 48
IPV6_HOME_PREFIX = 80
FIRST_INDEX = 2  # 11.77.0.1 looks like a gateway, so no host has it

HOME_GATEWAY = "192.168.1.1"
HOME_PREFIX = 24
CARRIER_GATEWAY = "100.64.0.1"
CARRIER_PREFIX = 10
MOST_BEHIND_A_ROUTER = 200
_FIRST_BEHIND = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """A machine's own addresses, None where it has none of this version."""

    ipv4: str | None
    ipv6: str | None = None

    @property
    def best(self) -> str:
        """IPv4 where there is one."""
        address = self.ipv4 or self.ipv6
        assert address is not None
        return address


def wire_ipv4(number: int) -> str:
    """The IPv4 address with this number, in the network that all wires join."""
    return f"{IPV4_NETWORK}.{number >> 8}.{number & 255}"


def wire_ipv6(index: int) -> str:
    """The first address of a host's own /64; all of them lead to the host's wire."""
    return f"{IPV6_NETWORK}:{index:x}::1"


def behind_router(place: int) -> str:
    """The private IPv4 address of the host that joined a home network as number `place`, from 0."""
    return f"192.168.1.{_FIRST_BEHIND + place}"


def behind_carrier(place: int) -> str:
    """The address of a router that stands behind another one, which is a carrier then (RFC 6598)."""
    return f"100.64.0.{_FIRST_BEHIND + place}"


def home_ipv6_gateway(index: int) -> str:
    """The address of a router towards its home, from the /64 of its own wire."""
    return f"{IPV6_NETWORK}:{index:x}:1::1"


def home_ipv6(index: int, place: int) -> str:
    """The public IPv6 address of a host behind the router with this index."""
    return f"{IPV6_NETWORK}:{index:x}:1::{_FIRST_BEHIND + place:x}"
