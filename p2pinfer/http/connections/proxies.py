"""Who a visitor is behind a reverse proxy: the address that the proxy names. Pure.

Whoever connects can send X-Forwarded-For. So it counts only from addresses that the operator has named, and
is read from its end: what stands further in front the visitor may have written.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HEADER = b"x-forwarded-for"
_MOST_CHARACTERS = 2_000
_MOST_PROXIES = 16


def network(text: str) -> Network:
    """Read an address or a network: `127.0.0.1`, `10.0.0.0/8`. For argparse."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"an IP address or a network such as 10.0.0.0/8 is expected, not {text!r}"
        ) from None


def add_proxies(group: argparse._ActionsContainer) -> None:
    """Add the flag for it. The namespace gets networks."""
    group.add_argument(
        "--behind-proxy",
        dest="proxies",
        type=network,
        nargs="+",
        action="extend",
        default=[],
        metavar="ADDRESS",
        help="reverse proxies connect from these addresses or networks: visitors are told apart by their "
        "X-Forwarded-For, for the bounds of each visitor (without it, all visitors behind a proxy share one)",
    )


def visitor(host: str, headers: Iterable[tuple[bytes, bytes]], proxies: tuple[Network, ...]) -> str:
    """The address of who sent a request that came from `host`; names of headers are in lower case.

    Behind several proxies it is the last address that isn't one of them.
    """
    if not proxies or not _is_proxy(host, proxies):
        return host
    said = b",".join(value for name, value in headers if name == _HEADER)
    found = host
    names = said[-_MOST_CHARACTERS:].decode("latin-1").rsplit(",", _MOST_PROXIES)[-_MOST_PROXIES:]
    for name in reversed(names):
        address = _address(name.strip())
        if address is None:
            break
        found = address
        if not _is_proxy(found, proxies):
            break
    return found


def _is_proxy(host: str, proxies: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in proxies)


def _address(text: str) -> str | None:
    """The address in what a proxy wrote, without a port: `203.0.113.7:4711`, `[2001:db8::1]:4711`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
