"""Who can dial an address. Pure, and defined for any text."""

from __future__ import annotations

import ipaddress
from enum import Enum


class Nearness(Enum):
    """Who can dial it, the most first."""

    PUBLIC = 0  # everybody; a name counts as public
    PRIVATE = 1  # those in its own network
    LOOPBACK = 2  # this machine


def nearness_of(endpoint: str) -> Nearness:
    """Of HOST:PORT, with an IPv6 host in brackets.

    >>> nearness_of("[2001:db8::7]:4600"), nearness_of("example.org:4600"), nearness_of("localhost:1")
    (<Nearness.PRIVATE: 1>, <Nearness.PUBLIC: 0>, <Nearness.LOOPBACK: 2>)
    """
    host = endpoint.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return Nearness.LOOPBACK if host == "localhost" else Nearness.PUBLIC
    if ip.is_loopback:
        return Nearness.LOOPBACK
    return Nearness.PUBLIC if ip.is_global else Nearness.PRIVATE


def endpoint_of(maddr: str) -> str | None:
    """HOST:PORT of a multiaddress; None if it isn't one of TCP or UDP at a host, or leads through a relay.

    >>> endpoint_of("/ip6/2001:db8::7/udp/4600/quic-v1/p2p/12D3"), endpoint_of("/p2p/12D3/p2p-circuit")
    ('[2001:db8::7]:4600', None)
    """
    words = maddr.split("/")
    if len(words) < 5 or "p2p-circuit" in words:
        return None
    return f"[{words[2]}]:{words[4]}" if words[1] == "ip6" else f"{words[2]}:{words[4]}"
