"""What a member concludes from how others see it."""

from __future__ import annotations

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.reach.look import Sight
from p2pinfer.swarm.reach.verdict import Verdict, conclude
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


OURS, DOOR, *STRANGERS = (Identity.ephemeral().peer_id for _ in range(5))
VISIBLE = (f"/ip4/192.168.1.10/tcp/4001/p2p/{OURS}",)
HOME, ELSEWHERE, OURS_BY_IPV6 = "/ip4/11.77.0.4/tcp/4001", "/ip4/9.9.9.9/tcp/4001", "/ip6/2a0d:77::4/tcp/4001"


def sight(looker: PeerId, *observed: str, is_reached: bool) -> Sight:
    ports = frozenset({4001, 31330})
    reached = ports if is_reached else frozenset[int]()
    return Sight(looker=looker, observed=observed, asked=ports, reached=reached, own=())


def concluded(*sights: Sight) -> Verdict:
    verdict = conclude(OURS, sights, VISIBLE, lambda host: False, [DOOR])
    assert verdict is not None
    return verdict


@pytest.mark.parametrize("lie", [HOME, ELSEWHERE])
@pytest.mark.parametrize("honest", [[DOOR], STRANGERS[1:2], STRANGERS[1:]])
def test_a_stranger_that_lies_leads_nobody_elsewhere_and_away_from_relays(lie: str, honest: list[PeerId]):
    """The server would announce a third party, and give its places at relays up."""
    lies = [sight(STRANGERS[0], lie, is_reached=True)]
    truth = [sight(peer_id, HOME, is_reached=False) for peer_id in honest]
    verdict = concluded(*lies, *truth)
    assert not verdict.is_dialable
    assert verdict.endpoints([31330]) == verdict.maddrs == ()
    assert verdict.closed_ports == {4001, 31330}


def test_a_stranger_that_lies_makes_nobody_hide_who_is_seen_by_those_it_has_joined_through():
    lies = [sight(peer_id, HOME, is_reached=False) for peer_id in STRANGERS]
    verdict = concluded(sight(DOOR, HOME, is_reached=True), *lies)
    assert verdict.is_dialable
    assert verdict.endpoints([31330]) == ("11.77.0.4:31330",)


def test_what_is_seen_by_ipv6_and_by_ipv4_is_told_apart():
    verdict = concluded(
        sight(DOOR, HOME, is_reached=False), sight(STRANGERS[0], OURS_BY_IPV6, is_reached=True)
    )
    assert verdict.endpoints([31330]) == ("[2a0d:77::4]:31330",)
    assert not verdict.is_dialable_by_all


def test_most_strangers_are_believed_where_nobody_else_has_looked():
    truth = [sight(peer_id, HOME, is_reached=True) for peer_id in STRANGERS[1:]]
    assert concluded(*truth).endpoints([31330]) == ("11.77.0.4:31330",)
    assert concluded(sight(STRANGERS[0], ELSEWHERE, is_reached=True), *truth).hosts == ("11.77.0.4",)
