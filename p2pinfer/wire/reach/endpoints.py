"""Endpoints as they are dialled: an IP address and a port, never a name. In the order of RFC 8305. Pure."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a connection goes to."""

    ip: IPAddress
    port: int

    @property
    def target(self) -> str:
        """As gRPC writes it, so that it resolves nothing."""
        return f"ipv4:{self.ip}:{self.port}" if self.ip.version == 4 else f"ipv6:[{self.ip}]:{self.port}"

    @classmethod
    def from_target(cls, target: str) -> Endpoint:
        """Read what `target` says."""
        host, _, port = target.partition(":")[2].rpartition(":")
        return cls(ipaddress.ip_address(host.strip("[]")), int(port))


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """The host, without brackets, and the port of HOST:PORT. Raises ValueError."""
    host, _, port = endpoint.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"HOST:PORT is expected, not {endpoint!r}")
    return host.strip("[]"), int(port)


def ip_of(host: str) -> IPAddress | None:
    """The address that a host is, however it is written; None for a name, which has to be resolved.

    The system reads `127.1`, `0x7f.1` and `2130706433` as IPv4 addresses as well. An IPv4 address within
    IPv6 is the IPv4 address.

    >>> str(ip_of("::ffff:127.0.0.1")), str(ip_of("0x7f.1"))
    ('127.0.0.1', '127.0.0.1')
    """
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host)) if host.isascii() else None
        except OSError:
            return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


def interleaved(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Each once: IPv6 and IPv4 in turn, beginning with IPv6; those of one family in their order."""
    each = list(dict.fromkeys(endpoints))
    pairs = zip_longest(*([one for one in each if one.ip.version == version] for version in (6, 4)))
    return [one for one in chain.from_iterable(pairs) if one is not None]
