"""Which addresses of this machine a server announces: few, those of most use to others first. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from p2pinfer.swarm.addresses import ip_of
from p2pinfer.swarm.reach.dialable import IPAddress, Kind, ip_in, kind_of
from p2pinfer.swarm.reach.interfaces import Interface
from p2pinfer.swarm.records.announcement import MAX_ENDPOINTS

_EVERYWHERE = ("0.0.0.0", "::")


def announced_endpoints(
    host: str,
    port: int,
    swarm_addresses: Sequence[str],
    *,
    cards: Sequence[Interface] = (),
    unreachable: Collection[str] = (),
) -> tuple[str, ...]:
    """The HOST:PORT that peers dial: the listening host, or where the swarm sees this machine.

    At most MAX_ENDPOINTS: public IPv4, public IPv6, private ones of real network cards, the others. `cards`
    are those of this machine; without them no address is known to lead to its containers only. Hosts in
    `unreachable` were tried from outside, in vain. Loopback is announced where there is nothing else: the
    whole swarm may be on this machine.

    >>> announced_endpoints("0.0.0.0", 7, ("/ip4/8.8.8.8/tcp/9/p2p/Qm", "/ip4/127.0.0.1/tcp/9/p2p/Qm"))
    ('8.8.8.8:7',)
    """
    if host.strip("[]") not in _EVERYWHERE:
        return (f"{host}:{port}",)
    tried = {ip_in(one.strip("[]")) for one in unreachable}
    ips = dict.fromkeys(ip for maddr in swarm_addresses if (ip := _host(maddr, host)) not in (None, *tried))
    ranked = sorted(
        ((rank, ip) for ip in ips if ip is not None and (rank := _rank(ip, cards)) is not None),
        key=lambda one: one[0],  # of equals, the order of libp2p
    )
    found = [ip for rank, ip in ranked if rank < _LOOPBACK] or [ip for _, ip in ranked]
    return tuple(f"{ip}:{port}" if ip.version == 4 else f"[{ip}]:{port}" for ip in found[:MAX_ENDPOINTS])


_LOOPBACK = 5


def _host(maddr: str, listening: str) -> IPAddress | None:
    """The IP address in an address of libp2p, if we listen on its family."""
    ip = ip_of(maddr)
    if ip is None or "/p2p-circuit" in maddr or (ip.version == 6 and listening == "0.0.0.0"):
        return None
    return ip_in(str(ip))


def _rank(ip: IPAddress, cards: Sequence[Interface]) -> int | None:
    """How much use an address is to others; None: to nobody."""
    ours = [card for card in cards if card.network.ip == ip]
    match kind_of(ip):
        case Kind.PUBLIC:
            return 0 if ip.version == 4 else 1
        case Kind.PRIVATE if ours and all(card.is_bridge for card in ours):
            return 4
        case Kind.PRIVATE if cards and not ours:  # a router's other side
            return None
        case Kind.PRIVATE:
            return 2
        case Kind.LOOPBACK:
            return _LOOPBACK
        case _:  # of documentation or measurements: some laboratories use them; never those of one cable
            return None if ip.is_link_local or ip.is_multicast or ip.is_unspecified else 3
