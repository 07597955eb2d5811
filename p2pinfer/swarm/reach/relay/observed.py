"""From which addresses a member is seen, and what it may therefore claim. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from p2pinfer.errors import ProtocolError
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.sources import Source, source_of
from p2pinfer.swarm.addresses import ip_of
from p2pinfer.swarm.reach.relay.messages import MAX_MADDRS
from p2pinfer.swarm.records.bounds import check_maddr
from p2pinfer.types import PeerId

_UNKNOWN = Source("unknown")


def full_maddrs(peer_id: PeerId, seen: Iterable[str]) -> tuple[str, ...]:
    """The direct addresses of connections with a peer as full multiaddresses, at most MAX_MADDRS.

    >>> full_maddrs(PeerId("12D3KooW..."), ["/ip4/192.0.2.7/tcp/7/ws"])
    ()
    """
    found = []
    for address in seen:
        maddr = f"{address.removesuffix(f'/p2p/{peer_id}')}/p2p/{peer_id}"
        try:
            check_maddr("maddrs", maddr)
        except ProtocolError:  # a transport that nobody is asked to dial
            continue
        found.append(maddr)
    return tuple(dict.fromkeys(found))[:MAX_MADDRS]


def candidates(observed: tuple[str, ...], claimed: Iterable[str]) -> tuple[str, ...]:
    """Where to dial a peer: where it is seen, and what it claims at the same IP addresses.

    What it claims elsewhere is dropped: nobody may make others send packets to third parties.
    """
    hosts = {_host(maddr) for maddr in observed} - {None}
    own = [maddr for maddr in claimed if _host(maddr) in hosts]
    return tuple(dict.fromkeys((*observed, *own)))[:MAX_MADDRS]


def networks(observed: Iterable[str]) -> tuple[Source, ...]:
    """The networks of the IP addresses in multiaddresses, each once."""
    hosts = [host for maddr in observed if (host := _host(maddr)) is not None]
    return tuple(dict.fromkeys(source_of(str(host)) for host in hosts))


def guest_at(peer_id: PeerId, observed: Iterable[str]) -> Guest:
    """A peer with the networks where it is seen. Those of whom no IP address is known share a source."""
    return Guest(key=peer_id.encode(), sources=networks(observed) or (_UNKNOWN,))


def _host(maddr: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address, where IPv4 within IPv6 is IPv4; None for a name."""
    host = ip_of(maddr)
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return mapped or host
