"""Hosts with IPv6 beside IPv4 or instead, in the open or behind a home router."""

from __future__ import annotations

import pytest

from scripts.lab import LabError, RouterKind, WanLab
from tests.lab.home import LAN, PORT, add_router
from tests.lab.speaker import speaking


def test_a_host_may_have_ipv6_beside_ipv4_or_instead(lab: WanLab):
    """Both look public; an IPv6-only host reaches nothing else."""
    both, only = lab.add_host("both", LAN, ipv6=True), lab.add_host("only", LAN, ipv4=False, ipv6=True)
    assert both.address6 is not None and only.address == only.address6
    with speaking(both.prefix, PORT, ipv6=True) as here, speaking(only.prefix, PORT, ipv6=True) as there:
        there.send("hello", both.address6, PORT)
        assert here.hear() == ("hello", only.address, PORT)
    with speaking(both.prefix, PORT) as here, speaking(only.prefix, PORT) as there:
        there.send("no", both.address, PORT)
        assert here.hears_nothing()
    with pytest.raises(LabError, match="needs an address"):
        lab.add_host("none", LAN, ipv4=False)


@pytest.mark.parametrize("firewall6", [True, False])
def test_a_home_has_ipv6_without_nat_behind_a_firewall_or_open(lab: WanLab, firewall6: bool):
    """Through a firewall, only answers come in; without it, anybody may send. IPv4 stays behind its NAT."""
    router = add_router(lab, "router", RouterKind.HOME, ipv6=True, firewall6=firewall6)
    host, friend = router.add_host("host"), lab.add_host("friend", LAN, ipv6=True)
    assert host.address6 is not None and friend.address6 is not None
    with (
        speaking(host.prefix, PORT, ipv6=True, listen=True) as inside,
        speaking(friend.prefix, PORT, ipv6=True) as outside,
        speaking(friend.prefix, PORT) as outside4,
    ):
        for _ in range(2):  # before and after a reboot
            outside.send("first", host.address6, PORT)
            assert inside.hears_nothing() is firewall6
            assert outside.dial(host.address6, PORT) is not firewall6
            outside4.send("no", router.public_address, PORT)
            assert inside.hears_nothing()
            inside.send("hello", friend.address6, PORT)
            assert outside.hear() == ("hello", host.address6, PORT)
            outside.send("answer", host.address6, PORT)
            assert inside.hear() == ("answer", friend.address6, PORT)
            router.reboot(seconds=0.05)
