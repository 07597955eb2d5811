"""What a member concludes from how others see it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from p2pinfer.swarm.reach.look import Sight
from p2pinfer.swarm.reach.verdict import Verdict, conclude, ports_to_try
from p2pinfer.types import PeerId

IPV4, IPV6 = "/ip4/11.77.0.2/tcp/4001/p2p/Q", "/ip6/2a0d:77::2/tcp/4001/p2p/Q"
NAME = "/dns/example.org/tcp/4001/p2p/Q"


@pytest.mark.parametrize(
    ("maddrs", "by_all"),
    [
        ((IPV4,), True),
        ((IPV6, IPV4), True),
        ((IPV6,), False),
        (("/dns/a.org/tcp/1/p2p/Q",), True),
        ((), True),
    ],
)
def test_a_member_that_is_dialled_by_ipv6_only_needs_relays_for_the_others(
    maddrs: tuple[str, ...], by_all: bool
):
    """A home with open IPv6 has a router before its IPv4, and most clients have nothing else."""
    assert Verdict(is_dialable=True, maddrs=maddrs).is_dialable_by_all is by_all
    assert not Verdict(is_dialable=False, maddrs=maddrs).is_dialable_by_all


US = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
HERE, OUTSIDE, SIX = "192.168.1.7", "8.8.8.8", "2a00:1450::7"
VISIBLE = (f"/ip4/{HERE}/tcp/4001/p2p/{US}", f"/ip4/{HERE}/udp/4001/quic-v1/p2p/{US}")


def sight(
    *hosts: str, taken: Collection[str] = (), ports: Collection[int] = (4001,), tried: bool = True
) -> Sight:
    """What one has seen: we come from `hosts`, and those that are `taken` take connections at all ports."""
    return Sight(
        looker=PeerId("looker"),
        hosts=hosts,
        asked=frozenset(ports),
        tried=frozenset((host, port) for host in hosts for port in ports if tried),
        taken=frozenset((host, port) for host in taken for port in ports),
        own=(),
    )


def concluded(*sights: Sight, visible: Sequence[str] = VISIBLE, ours: Collection[str] = (HERE,)) -> Verdict:
    found = conclude(PeerId(US), sights, visible, lambda host: host in ours)
    assert found is not None
    return found


def test_who_is_not_looked_at_has_no_verdict():
    assert conclude(PeerId(US), [], VISIBLE, bool) is None
    assert conclude(PeerId(US), [sight()], VISIBLE, bool) is None


def test_a_busy_looker_says_nothing_of_ports():
    """Its silence isn't a closed port."""
    busy = sight(OUTSIDE, tried=False)
    assert conclude(PeerId(US), [busy], VISIBLE, bool) is None
    assert concluded(busy, sight(OUTSIDE, taken=[OUTSIDE])).is_dialable


def test_behind_a_router_nothing_is_dialable_and_the_port_is_known_to_be_closed():
    found = concluded(sight(OUTSIDE), sight(OUTSIDE))
    assert not found.is_dialable and not found.maddrs and not found.endpoints([4001])
    assert found.hosts == found.hosts_without(4001) == (OUTSIDE,)
    assert found.hosts_without(4002) == ()


def test_a_port_that_takes_connections_is_told_with_quic_first():
    found = concluded(sight(OUTSIDE, taken=[OUTSIDE], ports=[4001, 4600]))
    assert found.maddrs == (
        f"/ip4/{OUTSIDE}/udp/4001/quic-v1/p2p/{US}",
        f"/ip4/{OUTSIDE}/tcp/4001/p2p/{US}",
    )
    assert found.endpoints([4600]) == (f"{OUTSIDE}:4600",)
    assert not found.is_mapped


def test_a_host_counts_only_where_it_took_the_connection_itself():
    """A home with open IPv6 behind a router of IPv4: the same port, closed and open."""
    visible = (*VISIBLE, f"/ip6/{SIX}/tcp/4001/p2p/{US}")
    found = concluded(sight(OUTSIDE, SIX, taken=[SIX]), visible=visible, ours=(HERE, SIX))
    assert found.is_dialable and not found.is_dialable_by_all
    assert all(maddr.startswith(f"/ip6/{SIX}/") for maddr in found.maddrs)
    assert found.endpoints([4001]) == (f"[{SIX}]:4001",)
    assert found.hosts_without(4001) == (OUTSIDE,)


def test_a_port_that_the_router_has_opened_is_told_as_such():
    visible = (*VISIBLE, f"/ip4/{OUTSIDE}/tcp/5007/p2p/{US}")
    found = concluded(sight(OUTSIDE, taken=[OUTSIDE], ports=[5007]), visible=visible)
    assert found.is_mapped and found.maddrs == (f"/ip4/{OUTSIDE}/tcp/5007/p2p/{US}",)
    assert not concluded(sight(OUTSIDE, taken=[OUTSIDE])).is_mapped  # forwarded by hand


def test_what_is_seen_at_home_counts_only_while_nobody_outside_has_looked():
    at_home = sight(HERE, taken=[HERE])
    assert concluded(at_home).maddrs[-1] == VISIBLE[0]
    assert not concluded(at_home, sight(OUTSIDE)).is_dialable


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_two_outvote_one_that_lies(order: tuple[int, ...]):
    """Or a member would have others dial a stranger's machine, or believe that it needs no relay."""
    honest, victim = sight(OUTSIDE), "8.8.4.4"
    for lie in (sight(victim, taken=[victim]), sight(OUTSIDE, taken=[OUTSIDE])):
        found = concluded(*([honest, honest, lie][one] for one in order))
        assert not found.is_dialable
        assert found.hosts == (OUTSIDE,)


def test_several_addresses_of_this_machine_are_all_told():
    found = concluded(
        sight("8.8.8.8", taken=["8.8.8.8"]), sight("8.8.4.4", taken=["8.8.4.4"]), ours=("8.8.8.8", "8.8.4.4")
    )
    assert found.hosts == ("8.8.4.4", "8.8.8.8")
    assert len(found.maddrs) == 4


def test_four_ports_are_tried_those_of_libp2p_first():
    assert ports_to_try(VISIBLE, [1, 2, 3, 4]) == (4001, 1, 2, 3)
    assert ports_to_try([], [4600]) == (4600,)
