"""p2pd gets one port for TCP and QUIC where the user leaves the port open."""

from __future__ import annotations

import random
import socket
from itertools import count

import pytest

from p2pinfer.swarm.addresses import with_quic_beside
from p2pinfer.swarm.membership.free_ports import with_free_ports

TCP, QUIC = "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"


def port_in(address: str) -> int:
    return int(address.split("/")[4])


def test_tcp_and_quic_get_the_same_port_that_both_can_have():
    tcp, quic = with_free_ports([TCP, QUIC])
    assert port_in(tcp) == port_in(quic) > 1024
    assert quic.endswith("/quic-v1")
    with socket.socket() as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        one.bind(("127.0.0.1", port_in(tcp)))
        other.bind(("127.0.0.1", port_in(quic)))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_either_of_them_has_already_is_passed_over(monkeypatch, kind):
    with socket.socket(type=kind) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        ports = count(number)
        monkeypatch.setattr(random, "choice", lambda _: next(ports))
        tcp, quic = with_free_ports([TCP, QUIC])
    assert port_in(tcp) == port_in(quic) > number


@pytest.mark.parametrize(
    "listen",
    [
        [],
        [TCP],
        [QUIC],
        ["/ip4/127.0.0.1/tcp/7", "/ip4/127.0.0.1/udp/7/quic-v1"],
        ["/ip4/127.0.0.1/tcp/7", QUIC],
        ["/ip4/192.0.2.1/tcp/0", "/ip4/192.0.2.1/udp/0/quic-v1"],  # not of this machine: p2pd says so
    ],
)
def test_what_the_user_has_chosen_and_what_cannot_be_stays_as_it_is(listen):
    assert with_free_ports(listen) == tuple(listen)


def test_a_chosen_port_beside_open_ones_stays():
    fixed = "/ip4/127.0.0.1/tcp/7"
    found = with_free_ports([fixed, TCP, QUIC])
    assert found[0] == fixed
    assert port_in(found[1]) == port_in(found[2])


def test_quic_is_guessed_beside_tcp_but_not_on_the_loopback_or_behind_a_relay():
    peer = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
    for address in (
        f"/ip4/127.0.0.1/tcp/7/p2p/{peer}",
        f"/ip4/192.0.2.1/udp/7/quic-v1/p2p/{peer}",
        f"/ip4/192.0.2.1/tcp/7/p2p/{peer}/p2p-circuit/p2p/{peer}",
        "/ip4/192.0.2.1/tcp/7",
    ):
        assert with_quic_beside([address]) == [address]
    tcp, quic = f"/ip6/2001:db8::1/tcp/7/p2p/{peer}", f"/ip6/2001:db8::1/udp/7/quic-v1/p2p/{peer}"
    assert with_quic_beside([tcp, quic, tcp]) == [quic, tcp]
