"""What a member concludes from how others see it."""

from __future__ import annotations

import pytest

from p2pinfer.swarm.reach.verdict import Verdict

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
