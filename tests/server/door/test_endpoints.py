"""A server announces the few addresses that others can use, however many this machine has."""

from __future__ import annotations

import ipaddress

from p2pinfer.server.door.endpoints import announced_endpoints
from p2pinfer.swarm.reach.interfaces import Interface
from p2pinfer.swarm.records.announcement import MAX_ENDPOINTS
from p2pinfer.swarm.records.bounds import check_endpoint


def maddr(host: str) -> str:
    return f"/ip{ipaddress.ip_address(host).version}/{host}/tcp/9/p2p/Qm"


def card(name: str, address: str) -> Interface:
    return Interface(name, ipaddress.ip_interface(address))


def announced(*hosts: str, listen: str = "[::]", **options) -> tuple[str, ...]:
    found = announced_endpoints(listen, 5, [maddr(host) for host in hosts], **options)
    for endpoint in found:
        check_endpoint(endpoint)
    return found


def test_others_dial_the_listening_host_if_it_is_one():
    assert announced("8.8.8.8", listen="10.0.0.7") == ("10.0.0.7:5",)
    assert announced("8.8.8.8", listen="[fd00::7]") == ("[fd00::7]:5",)
    assert announced("8.8.8.8", listen="127.0.0.1") == ("127.0.0.1:5",)


def test_public_addresses_come_first_and_of_ipv4_first():
    hosts = ("192.168.1.2", "fd00::2", "2a00:1450::1", "8.8.8.8")
    assert announced(*hosts) == ("8.8.8.8:5", "[2a00:1450::1]:5", "192.168.1.2:5", "[fd00::2]:5")


def test_who_listens_on_ipv4_alone_announces_nothing_else():
    assert announced("2a00:1450::1", "8.8.8.8", listen="0.0.0.0") == ("8.8.8.8:5",)


def test_nine_bridges_of_containers_end_no_server_and_come_last():
    bridges = [card("docker0" if n == 17 else f"br-{n:012x}", f"172.{n}.0.1/16") for n in range(16, 28)]
    cards = [card("eth0", "192.168.1.2/24"), *bridges]
    found = announced(*(str(one.network.ip) for one in [*bridges, cards[0]]), cards=cards)
    assert found[0] == "192.168.1.2:5"
    assert len(found) == MAX_ENDPOINTS
    public = announced("172.17.0.1", "8.8.8.8", "192.168.1.2", cards=cards)
    assert public == ("8.8.8.8:5", "192.168.1.2:5", "172.17.0.1:5")


def test_a_private_address_that_is_none_of_this_machine_is_of_no_use():
    """It is that of the router, in the network on its other side."""
    assert announced("100.64.0.9", "192.168.1.2", cards=[card("eth0", "192.168.1.2/24")]) == (
        "192.168.1.2:5",
    )


def test_loopback_is_announced_only_where_there_is_nothing_else():
    assert announced("127.0.0.1", "::1", "192.168.1.2") == ("192.168.1.2:5",)
    assert announced("127.0.0.1", "::1") == ("127.0.0.1:5", "[::1]:5")


def test_addresses_of_one_cable_and_of_everybody_are_never_announced():
    assert announced("169.254.7.7", "fe80::1", "224.0.0.1", "0.0.0.0", "8.8.8.8") == ("8.8.8.8:5",)
    assert announced("fe80::1") == ()
    assert announced_endpoints("0.0.0.0", 5, ("/dns/x/tcp/1/p2p/Qm", "/ip4", "", "x")) == ()


def test_addresses_through_relays_are_not_this_machines():
    assert announced_endpoints("0.0.0.0", 5, (maddr("8.8.8.8") + "/p2p-circuit/p2p/Qn",)) == ()


def test_what_others_have_tried_in_vain_is_not_announced():
    hosts = ("8.8.8.8", "2a00:1450::1", "192.168.1.2")
    assert announced(*hosts, unreachable={"8.8.8.8", "[2A00:1450:0::1]", "x"}) == ("192.168.1.2:5",)


def test_each_address_is_announced_once():
    seen = (maddr("8.8.8.8"), "/ip4/8.8.8.8/udp/9/quic-v1/p2p/Qm", "/ip6/::ffff:8.8.8.8/tcp/9/p2p/Qm")
    assert announced_endpoints("[::]", 5, seen) == ("8.8.8.8:5",)
