"""Where a guest comes from, as coarse as addresses are given out: one line gets a /24 or a /48 cheaply."""

from __future__ import annotations

import ipaddress
from typing import NewType

Source = NewType("Source", str)
"""`203.0.113.0/24`, `2001:db8:7::/48`, `peer 12D3KooW...`, `relay 12D3KooW...`."""

_IPV4_BITS, _IPV6_BITS = 24, 48


def source_of(host: str) -> Source:
    """The network of an IP address. IPv4 inside IPv6 is IPv4; a text that is no address stands for itself."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return Source(host)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    bits = _IPV4_BITS if ip.version == 4 else _IPV6_BITS
    return Source(str(ipaddress.ip_network((ip, bits), strict=False)))


def peer_source(peer_id: str) -> Source:
    """A peer whose streams come through a tunnel, where its address isn't known."""
    return Source(f"peer {peer_id}")


def relay_source(peer_id: str) -> Source:
    """The relay that a guest comes through: a crowd of identities may stand behind one."""
    return Source(f"relay {peer_id}")
