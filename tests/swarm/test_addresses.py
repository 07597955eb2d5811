"""Multiaddresses, as users write them and as others are told."""

from __future__ import annotations

import re

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.identity import Identity
from p2pinfer.swarm.addresses import (
    check_address,
    check_listen_address,
    check_peer_address,
    is_loopback,
    joinable,
    tcp_endpoint,
    with_ports,
    with_quic,
)

PEER = "12D3KooWHconPEJpuYWedY21rs5k5Cj1ZEyDmSoYDHinxBe7GXQq"  # fixed: it is in the tests' names


def test_a_full_address_names_its_peer() -> None:
    assert check_peer_address(f"/ip4/192.0.2.7/tcp/31330/p2p/{PEER}") == PEER


@pytest.mark.parametrize(
    "address",
    [
        "",
        "192.0.2.7:31330",
        "/ip4/192.0.2.7/tcp/31330",
        "/ip4/192.0.2.7/tcp/31330/p2p/x",
        "/ip4/1/tcp/1",
        "/p2p",
    ],
)
def test_a_malformed_peer_address_is_shown_with_an_example(address: str) -> None:
    with pytest.raises(UsageError, match="12D3Koo"):
        check_peer_address(address)


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        (f"/ip4/192.0.2.7/tcp/99999/p2p/{PEER}", "'99999' is no port, ports go to 65535"),
        (f"/ip4/192.0.2.7/udp/99999/quic-v1/p2p/{PEER}", "'99999' is no port"),
        (f"/ip4/192.0.2.7/tcp/-1/p2p/{PEER}", "'-1' is no port"),
        (f"/ip4/192.0.2.7/tcp/0/p2p/{PEER}", "names no port"),
        (f"/ip4/192.0.2.7/p2p/{PEER}", "names no port"),
        (f"/ip4/999.1.1.1/tcp/1/p2p/{PEER}", "'999.1.1.1' is no IPv4 address"),
        (f"/ip4/1.2.3/tcp/1/p2p/{PEER}", "'1.2.3' is no IPv4 address"),
        (f"/ip6/fe80::g/tcp/1/p2p/{PEER}", "'fe80::g' is no IPv6 address"),
        (f"/ip4/0.0.0.0/tcp/1/p2p/{PEER}", "0.0.0.0 stands for all addresses"),
        (f"/ip6/::/tcp/1/p2p/{PEER}", ":: stands for all addresses"),
        (f"/dns/a..b/tcp/1/p2p/{PEER}", "'a..b' is no host name"),
        (f"/ip4/192.0.2.7/tcp/1/p2p/{PEER[:-3]}", "is no peer id, these begin with 12D3KooW"),
        (f"/ip4/192.0.2.7/tcp/1/p2p/{PEER}.", "is no peer id, these begin with 12D3KooW"),
        (f"/ip4/192.0.2.7/tcp/1/p2p/{PEER.lower()}", "is no peer id, these begin with 12D3KooW"),
        ("/ip4/192.0.2.7/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "is no peer id"),
        (f"/dns/b\u00fccher.example/tcp/1/p2p/{PEER}", "is no host name"),
        (f"/tcp/1/ip4/192.0.2.7/p2p/{PEER}", "it names no host"),
        (f"/ip4/192.0.2.7/tcp/1/p2p/{PEER}/p2p/{PEER}", "it has two peer ids"),
    ],
)
def test_what_is_impossible_in_a_peer_address_is_named(address: str, fault: str) -> None:
    with pytest.raises(UsageError, match=re.escape(fault)):
        check_peer_address(address)


@pytest.mark.parametrize(
    "address",
    [
        f"/dns4/example.org/tcp/1/p2p/{PEER}",
        f"/dns/xn--bcher-kva.example./udp/1/quic-v1/p2p/{PEER}",
        f"/ip6/2001:db8::7/tcp/65535/p2p/{PEER}",
        f"/ip4/192.0.2.7/tcp/1/p2p/{Identity.ephemeral().peer_id}/p2p-circuit/p2p/{PEER}",
    ],
)
def test_names_ports_and_relays_that_can_exist_are_taken(address: str) -> None:
    assert check_peer_address(address) == PEER


def test_libp2p_listens_on_ip_addresses_only() -> None:
    assert check_listen_address("/ip4/0.0.0.0/tcp/0") == "/ip4/0.0.0.0/tcp/0"
    with pytest.raises(UsageError, match="IP addresses only"):
        check_listen_address("/dns/localhost/tcp/0")


@pytest.mark.parametrize(
    "address", ["localhost:80", "/ip4/999.0.0.1/tcp/1", "/ip4/127.0.0.1", "/ip4/127.0.0.1/tcp/x"]
)
def test_a_malformed_listen_address_is_shown_with_an_example(address: str) -> None:
    with pytest.raises(UsageError, match="/ip4/192"):
        check_address(address)


def test_loopback_is_told_to_others_only_if_there_is_nothing_else() -> None:
    local, quic, remote = "/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.7/udp/1/quic-v1", "/ip4/192.0.2.7/tcp/1"

    assert joinable([local, quic, remote, remote]) == (remote, quic)
    assert joinable([local]) == (local,)
    assert is_loopback("/ip6/::1/tcp/1")
    assert not is_loopback("/dns/example.org/tcp/1")


def test_quic_is_added_beside_tcp_but_not_on_loopback() -> None:
    assert with_quic(["/ip4/0.0.0.0/tcp/4600"]) == ["/ip4/0.0.0.0/tcp/4600", "/ip4/0.0.0.0/udp/4600/quic-v1"]
    assert with_quic(["/ip4/127.0.0.1/tcp/0"]) == ["/ip4/127.0.0.1/tcp/0"]


def test_ports_that_the_system_chose_are_read_from_what_was_opened() -> None:
    listen = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::1/tcp/0", "/ip4/192.0.2.7/tcp/4"]
    opened = [
        f"{address}/p2p/{PEER}"
        for address in (
            "/ip4/203.0.113.9/tcp/99",  # a router's
            "/ip4/127.0.0.1/udp/2/quic-v1/webtransport",
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/3/quic-v1",
            "/ip6/::1/tcp/5",
        )
    ]
    assert with_ports(listen, opened) == (
        "/ip4/0.0.0.0/tcp/1",
        "/ip4/0.0.0.0/udp/3/quic-v1",
        "/ip6/::1/tcp/5",
        "/ip4/192.0.2.7/tcp/4",
    )
    assert with_ports(listen, [f"/ip4/203.0.113.9/tcp/99/p2p/{PEER}"]) == tuple(listen)


def test_only_plain_tcp_can_be_tried() -> None:
    assert tcp_endpoint(f"/ip4/192.0.2.7/tcp/4/p2p/{PEER}") == ("192.0.2.7", 4)
    assert tcp_endpoint("/dns6/example.org/tcp/4") == ("example.org", 4)
    assert tcp_endpoint("/ip4/192.0.2.7/udp/4/quic-v1") is None
    assert tcp_endpoint(f"/ip4/192.0.2.7/tcp/4/p2p/{PEER}/p2p-circuit") is None
