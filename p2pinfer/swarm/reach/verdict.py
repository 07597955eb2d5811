"""Whether others can dial this member, and where: concluded from what members that looked have seen. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from p2pinfer.swarm.addresses import ip_of, tcp_port_of
from p2pinfer.swarm.reach.dialable import IPAddress, Kind, ip_in, kind_of
from p2pinfer.swarm.reach.look import MOST_PORTS, Sight
from p2pinfer.types import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a member is reached by others."""

    is_dialable: bool  # its libp2p node takes connections from others
    maddrs: tuple[str, ...] = ()  # full multiaddresses where it was dialled
    is_mapped: bool = False  # these are ports that its router has opened for it
    hosts: tuple[str, ...] = ()  # the IP addresses from which others see it
    open: frozenset[tuple[str, int]] = frozenset()  # hosts and TCP ports of ours that took connections
    closed: frozenset[tuple[str, int]] = frozenset()  # that were tried, and took none

    @property
    def is_dialable_by_all(self) -> bool:
        """False if only members with IPv6 can dial it: the others need relays."""
        only_ipv6 = bool(self.maddrs) and all(maddr.startswith("/ip6/") for maddr in self.maddrs)
        return self.is_dialable and not only_ipv6

    def endpoints(self, ports: Collection[int]) -> tuple[str, ...]:
        """HOST:PORT for those of our ports that took connections from others."""
        return tuple(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host in self.hosts
            for port in ports
            if (host, port) in self.open
        )

    def hosts_without(self, port: int) -> tuple[str, ...]:
        """The hosts at which this port takes no connections from others."""
        return tuple(host for host in self.hosts if (host, port) in self.closed)


def is_public(ip: IPAddress) -> bool:
    """True for an address of the internet."""
    return kind_of(ip) is Kind.PUBLIC


def ports_to_try(visible: Sequence[str], offered: Collection[int]) -> tuple[int, ...]:
    """The TCP ports to ask others to dial: those of libp2p, as the router shows them, too, and then ours."""
    own = [port for maddr in visible if (port := tcp_port_of(maddr)) is not None]
    return tuple(dict.fromkeys([*own, *offered]))[:MOST_PORTS]


def conclude(
    peer_id: PeerId, sights: Sequence[Sight], visible: Sequence[str], is_ours: Callable[[str], bool]
) -> Verdict | None:
    """Return what the sights say together; None if nobody has looked.

    `visible` are the full multiaddresses that libp2p knows of itself: those of the machine, and those that a
    router has opened for it. `is_ours` says whether an IP address is one of this machine. What members in
    our own network see counts only if nobody outside of it has looked. Two outvote one that lies.
    """
    if any(sight.asked for sight in sights) and not any(sight.tried for sight in sights):
        return None  # they are busy
    hosts = _hosts(sights, is_ours)
    if not hosts:
        return None
    tried = Counter(place for sight in sights for place in sight.tried if place[0] in hosts)
    taken = Counter(place for sight in sights for place in sight.taken if place[0] in hosts)
    open_ = frozenset(place for place, number in tried.items() if 2 * taken[place] >= number)
    maddrs = _dialled(peer_id, visible, hosts, open_)
    shown = {str(ip_of(maddr)) for maddr in visible}
    return Verdict(
        is_dialable=bool(maddrs),
        maddrs=maddrs,
        is_mapped=any(str(ip_of(maddr)) in shown and not is_ours(str(ip_of(maddr))) for maddr in maddrs),
        hosts=hosts,
        open=open_,
        closed=frozenset(tried) - open_,
    )


def _hosts(sights: Sequence[Sight], is_ours: Callable[[str], bool]) -> tuple[str, ...]:
    """The IP addresses from which others see us: ours, and of others the one that most see, of each family.

    One that lies could have others dial a stranger's machine, as if it were ours.
    """
    seen = [[ip for host in sight.hosts if (ip := ip_in(host)) is not None] for sight in sights]
    outside = [[ip for ip in ips if is_public(ip)] for ips in seen]
    votes = Counter(ip for ips in (outside if any(outside) else seen) for ip in ips)
    hosts: list[str] = []
    for version in (4, 6):
        ranked = [ip for ip, _ in votes.most_common() if ip.version == version]  # of equals, the first seen
        own = [ip for ip in ranked if is_ours(str(ip))]
        hosts += sorted(map(str, own)) or [str(ip) for ip in ranked[:1]]
    return tuple(hosts)


def _dialled(
    peer_id: PeerId,
    visible: Sequence[str],
    hosts: Collection[str],
    open_: Collection[tuple[str, int]],
) -> tuple[str, ...]:
    """The multiaddresses of libp2p at the hosts whose TCP port took a connection; QUIC first."""
    quic_ports = {
        int(words[4])
        for maddr in visible
        if len(words := maddr.split("/")) > 5 and words[3] == "udp" and words[5] == "quic-v1"
    }
    tcp_ports = dict.fromkeys(port for maddr in visible if (port := tcp_port_of(maddr)) is not None)
    found = []
    for host in hosts:
        kind = "ip6" if ":" in host else "ip4"
        for port in tcp_ports:
            if (host, port) not in open_:
                continue
            if port in quic_ports:
                found.append(f"/{kind}/{host}/udp/{port}/quic-v1/p2p/{peer_id}")
            found.append(f"/{kind}/{host}/tcp/{port}/p2p/{peer_id}")
    return tuple(found)
