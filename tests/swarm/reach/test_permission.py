"""What may be dialled follows the machine's networks and libp2p's connections."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from p2pinfer.swarm.reach.interfaces import Interface, has_ipv6, interfaces, networks
from p2pinfer.swarm.reach.permission import Permission
from p2pinfer.types import PeerId

PEER, OTHER = PeerId("a"), PeerId("b")
HOME = Interface("eth0", ipaddress.ip_interface("192.168.1.2/24"))
DOCKER = Interface("docker0", ipaddress.ip_interface("172.17.0.1/16"))


def permission(*initial: str, cards=(HOME, DOCKER), **options) -> Permission:
    return Permission(
        initial=initial, listen=["/ip4/0.0.0.0/tcp/0"], announce=(), look=lambda: list(cards), **options
    )


def test_a_peer_that_is_connected_at_home_is_dialled_there_and_no_other():
    allowed = permission("/ip4/8.8.8.8/tcp/7/p2p/Qm")
    assert not allowed.may_dial(PEER, "192.168.1.7")
    allowed.saw(
        {PEER: ["/ip4/192.168.1.7/udp/7/quic-v1"], OTHER: ["/ip4/192.168.1.8/tcp/7/p2p/Q/p2p-circuit"]}
    )
    assert allowed.may_dial(PEER, "192.168.1.7")
    assert not allowed.may_dial(OTHER, "192.168.1.7")
    assert not allowed.may_dial(OTHER, "192.168.1.8")
    allowed.saw({})
    assert not allowed.may_dial(PEER, "192.168.1.7")


def test_a_machine_that_moves_to_another_network_is_noticed():
    cards, clock = [HOME], [0.0]
    allowed = permission("/ip4/192.168.1.9/tcp/7", cards=cards, now=lambda: clock[0])
    assert allowed.may_dial(PEER, "192.168.1.7")
    cards[:] = [Interface("eth0", ipaddress.ip_interface("10.0.0.2/24"))]
    clock[0] = 60.0
    assert not allowed.may_dial(PEER, "192.168.1.7")


@pytest.mark.parametrize(("answer", "inside"), [("192.168.1.9", True), ("8.8.8.8", False), (None, False)])
async def test_names_of_initial_peers_count_as_what_they_stand_for(monkeypatch, answer, inside):
    def look_up(*args, **options):
        if answer is None:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    allowed = permission("/dns4/car.example/tcp/7/p2p/Qm")
    assert not allowed.may_dial(PEER, "192.168.1.7")
    await allowed.resolve()
    assert allowed.may_dial(PEER, "192.168.1.7") is inside


def test_bridges_are_told_from_network_cards():
    own, bridges = networks([HOME, DOCKER, DOCKER])
    assert (own, bridges) == ([HOME.network.network], [DOCKER.network.network])
    for name in ("docker0", "br-1a2b3c", "veth12ab", "virbr0", "cni0", "podman1", "lxcbr0"):
        assert Interface(name, HOME.network).is_bridge
    for name in ("eth0", "br0", "enp3s0", "wlan0", "wg0", "en0", "bridge0", "lo"):
        assert not Interface(name, HOME.network).is_bridge


def test_this_machine_tells_of_its_network_cards():
    assert "127.0.0.1" in {str(one.network.ip) for one in interfaces()}
    assert has_ipv6() in (True, False)


async def test_names_in_multiaddresses_are_judged_by_where_they_lead_and_dialled_there(monkeypatch):
    """p2pd would look a name up again, and be led to another place."""
    known = {
        "door.example": ["8.8.8.8", "2a00::8", "192.168.1.7", "127.0.0.1"],
        "LOCALHOST": ["127.0.0.1", "::1"],
        "third.example": ["8.8.4.4"],
    }

    def look_up(host, *args, **options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    allowed = permission("/ip4/8.8.8.8/tcp/7/p2p/Qm")
    door = "/dns/door.example/tcp/7/p2p/a"
    assert await allowed.dialable(PEER, [door]) == ["/ip4/8.8.8.8/tcp/7", "/ip6/2a00::8/tcp/7"]
    assert await allowed.dialable(PEER, [door.replace("/dns/", "/dns4/")]) == ["/ip4/8.8.8.8/tcp/7"]
    assert await allowed.dialable(PEER, ["/dns6/door.example/udp/7/quic-v1"]) == [
        "/ip6/2a00::8/udp/7/quic-v1"
    ]
    assert await allowed.dialable(PEER, ["/dns4/LOCALHOST/tcp/6379/p2p/a", "/ip6/::1/tcp/1/p2p/a"]) == []
    names = ["/dns4/LOCALHOST/tcp/1/p2p/a", "/dns4/LOCALHOST/tcp/2/p2p/a", "/dns4/third.example/tcp/7/p2p/a"]
    assert await allowed.dialable(PEER, names) == []  # the third one isn't even looked up
