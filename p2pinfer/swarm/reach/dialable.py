"""Which addresses are a peer's to give: decided before anything is dialled. Pure.

Records are signed by whoever makes them, so the addresses in them may be anybody's: the router of the
reader's home, a database that listens for its own machine only. Nobody is made to knock there. What counts is
where the address leads from here, not how it is written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Kind(Enum):
    """What an address is, for everybody."""

    PUBLIC = "public"
    PRIVATE = "private"  # of a home, a company, a carrier: it means another machine in each network
    LOOPBACK = "loopback"
    NOWHERE = "nowhere"  # link-local, multicast, documentation, reserved


def _networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ipaddress.ip_network, texts))


_PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_NOWHERE = _networks(
    "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "2001::/23", "2001:db8::/32", "3fff::/20",
)  # fmt: skip
"""From IANA's registries of special-purpose addresses."""
_UNICAST = ipaddress.ip_network("2000::/3")  # IPv6 that is assigned to networks at all
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_6TO4 = ipaddress.ip_network("2002::/16")


def kind_of(ip: IPAddress) -> Kind:
    """What an address is. One that carries an IPv4 address within it is at most as good as that."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return kind_of(ip.ipv4_mapped)
        if (within := _ipv4_within(ip)) is not None:
            return Kind.PUBLIC if kind_of(within) is Kind.PUBLIC else Kind.NOWHERE
    if ip.is_loopback:
        return Kind.LOOPBACK
    if _is_in(ip, _PRIVATE):
        return Kind.PRIVATE
    if _is_in(ip, _NOWHERE) or (ip.version == 6 and ip not in _UNICAST):
        return Kind.NOWHERE
    return Kind.PUBLIC


def _ipv4_within(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which a gateway passes on what is sent to this one."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(ip.packed[12:])
    if ip in _6TO4:
        return ipaddress.IPv4Address(ip.packed[2:6])
    return None


def _is_in(ip: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)


def ip_in(host: str) -> IPAddress | None:
    """The address that `host` is; None for a name, or for one that belongs to one network card (`%eth0`)."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        return None if ip.scope_id is not None else ip.ipv4_mapped or ip
    return ip


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where this member is, as far as it matters for what it may dial."""

    is_one_machine: bool = False  # the swarm lives on this machine alone
    inside: tuple[IPNetwork, ...] = ()  # own networks in which the swarm was joined, and thus is
    own: tuple[IPNetwork, ...] = ()  # the networks of this machine's cards


def surroundings(
    *,
    initial_hosts: Sequence[str],
    listen_hosts: Collection[str],
    announced_hosts: Collection[str],
    own: Sequence[IPNetwork],
    bridges: Sequence[IPNetwork] = (),
) -> Surroundings:
    """Where a member is, from how it has joined.

    `initial_hosts` are those of all initial peers, names resolved where that is possible; without one the
    member has begun the swarm. `listen_hosts` are what libp2p listens on (none: a client), `announced_hosts`
    what the owner tells others. `own` are the networks of this machine's cards, `bridges` those that
    containers and virtual machines have on it: they count only if the swarm was joined in there.

    A swarm is inside a network if all initial peers are: one public peer, or a name that nobody knows, and
    the swarm is everybody's. Who has begun it is inside unless this machine has a public address.
    """
    ips = [ip_in(host) for host in initial_hosts]
    known = [ip for ip in ips if ip is not None]
    others = [ip for ip in known if not ip.is_loopback]
    private = [network for network in (*own, *bridges) if kind_of(network.network_address) is Kind.PRIVATE]
    met = tuple(network for network in private if any(_is_in(ip, [network]) for ip in others))
    ours = tuple(network for network in private if network in own or network in met)
    listens_here = all((ip := ip_in(host)) is not None and ip.is_loopback for host in listen_hosts)
    if initial_hosts:
        is_inside = len(known) == len(ips) and all(_is_in(ip, ours) for ip in others)
        is_one_machine = len(known) == len(ips) and not others and listens_here
    else:
        tells_more = any(
            (ip := ip_in(host)) is None or kind_of(ip) is Kind.PUBLIC for host in announced_hosts
        )
        has_public = any(kind_of(network.network_address) is Kind.PUBLIC for network in own)
        is_inside = not tells_more and not has_public
        is_one_machine = bool(listen_hosts) and listens_here and not tells_more
    return Surroundings(
        is_one_machine=is_one_machine, inside=(met if others else ours) if is_inside else (), own=ours
    )


def may_dial(host: str, here: Surroundings, seen: Collection[str] = ()) -> bool:
    """True if a peer may give this address to be dialled. A name is none: resolve it first.

    `seen` are the IP addresses from which this very peer has an authenticated connection with us.
    """
    if (ip := ip_in(host)) is None:
        return False
    match kind_of(ip):
        case Kind.PUBLIC:
            return True
        case Kind.LOOPBACK:
            return here.is_one_machine
        case Kind.PRIVATE:
            is_seen = any(ip_in(one) == ip for one in seen)
            return _is_in(ip, here.inside) or (is_seen and _is_in(ip, here.own))
        case Kind.NOWHERE:
            return False
