"""Whether others can dial this member, and where: concluded from what members that looked have seen. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from p2pinfer.swarm.addresses import ip_of, tcp_port_of
from p2pinfer.swarm.reach.dialable import IPAddress, Kind, kind_of
from p2pinfer.swarm.reach.look import MOST_PORTS, Sight
from p2pinfer.types import PeerId

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a member is reached by others."""

    is_dialable: bool  # its libp2p node takes connections from others
    maddrs: tuple[str, ...] = ()  # full multiaddresses where it was dialled
    is_mapped: bool = False  # these are ports that its router has opened for it
    hosts: tuple[str, ...] = ()  # the IP addresses from which others see it
    open_ports: frozenset[int] = frozenset()  # of TCP, that took connections there
    closed_ports: frozenset[int] = frozenset()  # that were tried, and took none

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
            if port in self.open_ports
        )


def is_public(ip: IPAddress) -> bool:
    """True for an address of the internet."""
    return kind_of(ip) is Kind.PUBLIC


def ports_to_try(visible: Sequence[str], offered: Collection[int]) -> tuple[int, ...]:
    """The TCP ports to ask others to dial: those of libp2p, as the router shows them, too, and then ours."""
    own = [port for maddr in visible if (port := tcp_port_of(maddr)) is not None]
    return tuple(dict.fromkeys([*own, *offered]))[:MOST_PORTS]


def conclude(
    peer_id: PeerId,
    sights: Sequence[Sight],
    visible: Sequence[str],
    is_ours: Callable[[str], bool],
    trusted: Collection[PeerId] = (),
) -> Verdict | None:
    """Return what the sights say together; None if nobody has looked.

    `visible` are the full multiaddresses that libp2p knows of itself: those of the machine, and those that a
    router has opened for it. `is_ours` says whether an IP address is one of this machine. What members in
    our own network see counts only if nobody outside of it has looked. `trusted` are members that the user
    names: where one of them has looked, strangers don't count, for IPv4 and IPv6 apart. Of strangers alone
    more than half have to say the same: one that lies would lead everybody elsewhere, and away from relays.
    """
    seen = {sight: [ip for maddr in sight.observed if (ip := ip_of(maddr)) is not None] for sight in sights}
    outside = {sight: ips for sight, ips in seen.items() if any(map(is_public, ips))}
    if outside:
        seen = {sight: [ip for ip in ips if is_public(ip)] for sight, ips in outside.items()}
    seen = {sight: ips for sight, ips in seen.items() if ips}
    if not seen:
        return None
    open_ports: set[int] = set()
    found: dict[str, bool] = {}  # where we are seen, and whether that was dialled
    for version in (4, 6):
        hosts, ports = _agreed(seen, version, trusted)
        open_ports |= ports
        found |= dict.fromkeys(hosts, bool(ports))
    reached_hosts = tuple(host for host, is_reached in found.items() if is_reached)
    maddrs = _dialled(peer_id, visible, reached_hosts, open_ports)
    return Verdict(
        is_dialable=bool(maddrs),
        maddrs=maddrs,
        is_mapped=any(
            str(ip_of(maddr)) in reached_hosts and not is_ours(str(ip_of(maddr))) for maddr in visible
        )
        and bool(maddrs),
        hosts=reached_hosts or tuple(found),
        open_ports=frozenset(open_ports),
        closed_ports=frozenset().union(*(sight.asked for sight in seen)) - open_ports,
    )


def _agreed(
    seen: Mapping[Sight, Sequence[IPAddress]], version: int, trusted: Collection[PeerId]
) -> tuple[tuple[str, ...], frozenset[int]]:
    """Our IP addresses of one family, and our open ports there, as far as those who count say the same."""
    ips = {
        sight: own
        for sight, all_ips in seen.items()
        if (own := [str(ip) for ip in all_ips if ip.version == version])
    }
    of_trusted = {sight: own for sight, own in ips.items() if sight.looker in trusted}
    needed = 1 if of_trusted else len(ips) // 2 + 1
    counted = of_trusted or ips
    reached = {sight: own for sight, own in counted.items() if sight.reached}
    hosts = _said(needed, reached.values()) or _said(needed, counted.values())
    ports = _said(needed, [sight.reached for sight, own in reached.items() if set(own) & set(hosts)])
    return hosts, frozenset(ports)


def _said(needed: int, answers: Iterable[Iterable[T]]) -> tuple[T, ...]:
    """What at least so many say, in the order in which they say it."""
    count = Counter(one for answer in answers for one in dict.fromkeys(answer))
    return tuple(one for one, number in count.items() if number >= needed)


def _dialled(
    peer_id: PeerId, visible: Sequence[str], hosts: Collection[str], open_ports: Collection[int]
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
            if port not in open_ports:
                continue
            if port in quic_ports:
                found.append(f"/{kind}/{host}/udp/{port}/quic-v1/p2p/{peer_id}")
            found.append(f"/{kind}/{host}/tcp/{port}/p2p/{peer_id}")
    return tuple(found)
