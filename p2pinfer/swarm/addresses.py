"""Multiaddresses: checks of those that users write, and which of our own to tell others."""

from __future__ import annotations

import errno
import ipaddress
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from hivemind.utils.multiaddr import Multiaddr

from p2pinfer.errors import UsageError
from p2pinfer.identity import peer_id_to_bytes
from p2pinfer.types import PeerId

_DIGITS = re.compile("[0-9]{1,5}")
_EXAMPLE = "/ip4/192.0.2.7/tcp/31330"
_HIGHEST_PORT = 65_535
_PORT = re.compile("[0-9]{1,5}")
_NAMES = ("dns", "dns4", "dns6", "dnsaddr")
_HOST_NAME = re.compile(r"(?!-)[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)
_PEER_ID = re.compile("12D3KooW[1-9A-HJ-NP-Za-km-z]{44}")


def check_peer_address(address: str) -> str:
    """Return the peer id at the end of a full address. Raises UsageError if no peer can have this address."""
    _parse(address, f"{_EXAMPLE}/p2p/12D3Koo...")
    peer_id = address.rpartition("/p2p/")[2]  # behind a relay's, if there is one
    try:
        peer_id_to_bytes(peer_id)
    except ValueError as error:
        raise UsageError(
            f"{address!r} doesn't end with a peer id: copy the whole address that the peer prints, "
            f"it looks like {_EXAMPLE}/p2p/12D3Koo..."
        ) from error
    if not re.search(r"/(tcp|udp)/[1-9]", address):
        raise UsageError(f"{address!r} names no port: addresses look like {_EXAMPLE}/p2p/12D3Koo...")
    if (host := ip_of(address)) is not None and host.is_unspecified:
        raise UsageError(
            f"{address!r} doesn't say which machine: {host} stands for all addresses of any; copy an address "
            "that the peer prints"
        )
    return peer_id


def by_peer(addresses: Iterable[str]) -> dict[PeerId, list[str]]:
    """Full addresses by the peer at their end. Raises UsageError as `check_peer_address` does."""
    found: dict[PeerId, list[str]] = {}
    for address in addresses:
        found.setdefault(PeerId(check_peer_address(address)), []).append(address)
    return found


def check_address(address: str) -> str:
    """Return `address`. Raises UsageError if it is malformed or has no port."""
    maddr = _parse(address, _EXAMPLE)
    if "tcp" not in maddr and "udp" not in maddr:
        raise UsageError(f"{address!r} names no port: addresses look like {_EXAMPLE}")
    return address


def check_listen_address(address: str) -> str:
    """Return `address`. Raises UsageError if libp2p can't listen there, whatever the machine."""
    check_address(address)
    if ip_of(address) is None:
        raise UsageError(f"{address!r}: libp2p listens on IP addresses only: they look like {_EXAMPLE}")
    return address


def why_not_bound(error: OSError, host: str, port: int) -> str:
    """Why a program can't listen at an address, and what to do about it."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"another program uses port {port}: choose another port, or 0 for any"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return f"this machine has no address {host}: choose one of its own; 0.0.0.0 stands for all"
        case errno.EACCES | errno.EPERM:
            return f"this user may not listen on port {port}: choose one from 1024 to {_HIGHEST_PORT}"
        case _:
            return f"{error.strerror or error}"


def with_quic(listen: Sequence[str]) -> list[str]:
    """Add a QUIC address, the same port of UDP, for each TCP address: QUIC gets through more NATs."""
    addresses = list(listen)
    for address in listen:
        if is_loopback(address):
            continue
        head, tcp, port = address.partition("/tcp/")
        if tcp and port.isdecimal():
            addresses.append(f"{head}/udp/{port}/quic-v1")
    return list(dict.fromkeys(addresses))


def with_quic_beside(peers: Sequence[str]) -> list[str]:
    """Full addresses, before each of TCP the same port of QUIC: a peer probably listens there, too.

    Only a connection by QUIC shows a peer the port by which others get through our router.

    >>> with_quic_beside(["/ip4/192.0.2.4/tcp/9/p2p/Qm"])
    ['/ip4/192.0.2.4/udp/9/quic-v1/p2p/Qm', '/ip4/192.0.2.4/tcp/9/p2p/Qm']
    """
    addresses = []
    for address in peers:
        head, tcp, tail = address.partition("/tcp/")
        port, _, rest = tail.partition("/")
        if tcp and rest.startswith("p2p/") and "/p2p-circuit" not in rest and not is_loopback(address):
            addresses.append(f"{head}/udp/{port}/quic-v1/{rest}")
        addresses.append(address)
    return list(dict.fromkeys(addresses))


def with_ports(listen: Sequence[str], actual: Sequence[str]) -> tuple[str, ...]:
    """`listen` with each port 0 replaced by the port that was opened for it, read from `actual` addresses.

    A port that `actual` doesn't show, because other addresses are announced, stays 0.

    >>> with_ports(["/ip4/0.0.0.0/tcp/0"], ["/ip4/192.0.2.4/tcp/7/p2p/Qm", "/ip4/127.0.0.1/tcp/9/p2p/Qm"])
    ('/ip4/0.0.0.0/tcp/9',)
    """
    shown = [address.partition("/p2p/")[0].split("/") for address in actual]
    found = []
    for address in listen:
        words = address.split("/")
        if len(words) >= 5 and words[4] == "0":
            # On all hosts, look at loopback: its ports are the listener's own, others may be a router's.
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(words[2], words[2])
            for other in shown:
                if [*other[:4], *other[5:]] == [*words[:2], host, words[3], *words[5:]]:
                    words[4] = other[4]
                    break
        found.append("/".join(words))
    return tuple(found)


def tcp_endpoint(address: str) -> tuple[str, int] | None:
    """The host and port to which a plain TCP connection leads; None if the address isn't such a one.

    >>> tcp_endpoint("/dns4/example.org/tcp/7/p2p/Qm")
    ('example.org', 7)
    """
    words = address.partition("/p2p/")[0].split("/")
    if "/p2p-circuit" in address or len(words) != 5 or words[3] != "tcp":
        return None
    is_port = _DIGITS.fullmatch(words[4]) and int(words[4]) < 65536
    return (words[2], int(words[4])) if is_port else None


def ip_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address in a multiaddress; None if it begins with a name, or is none."""
    words = address.split("/")
    try:
        return ipaddress.ip_address(words[2]) if words[1] in ("ip4", "ip6") else None
    except (IndexError, ValueError):
        return None


def tcp_port_of(address: str) -> int | None:
    """The port of a multiaddress of plain TCP."""
    endpoint = tcp_endpoint(address)
    return None if endpoint is None else endpoint[1]


def is_loopback(address: str) -> bool:
    """True if only this machine can dial `address`."""
    host = ip_of(address)
    return host is not None and host.is_loopback


def joinable(addresses: Iterable[str]) -> tuple[str, ...]:
    """The addresses to tell others: TCP first, and loopback only if there is no other."""
    known = [address for address in dict.fromkeys(addresses) if "/p2p-circuit" not in address]
    remote = [address for address in known if not is_loopback(address)]
    return tuple(sorted(remote or known, key=lambda address: "/tcp/" not in address))


def _parse(address: str, example: str) -> Multiaddr:
    fault = _fault(address)
    if fault is None:
        try:
            return Multiaddr(address)
        except Exception:  # noqa: BLE001 - the library's parser raises many kinds
            fault = "libp2p doesn't know its form"
    raise UsageError(f"{address!r} isn't a multiaddress that can exist: {fault}; they look like {example}")


def _fault(address: str) -> str | None:
    """What is impossible in a part of a multiaddress that looks right as a whole."""
    words = address.removeprefix("/").split("/")
    for kind, value in pairwise(words):
        if kind in ("ip4", "ip6"):
            try:
                ipaddress.IPv4Address(value) if kind == "ip4" else ipaddress.IPv6Address(value)
            except ValueError:
                return f"{value!r} is no IPv{kind[-1]} address"
        elif kind in ("tcp", "udp") and not (_PORT.fullmatch(value) and int(value) <= _HIGHEST_PORT):
            return f"{value!r} is no port, ports go to {_HIGHEST_PORT}"
        elif kind == "p2p" and not _PEER_ID.fullmatch(value):
            return f"{value!r} is no peer id, these begin with 12D3KooW and have 52 characters"
        elif kind in _NAMES and not _HOST_NAME.fullmatch(value):
            return f"{value!r} is no host name"
    if words[0] not in ("ip4", "ip6", "ip6zone", *_NAMES):
        return "it names no host"
    if words.count("p2p") > 1 + words.count("p2p-circuit"):
        return "it has two peer ids"
    return None
