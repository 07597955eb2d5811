"""Endpoints are IP addresses however they were written, and come in the order of RFC 8305."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from p2pinfer.wire.reach.endpoints import Endpoint, interleaved, ip_of, split_endpoint


def endpoint(host: str, port: int = 7) -> Endpoint:
    return Endpoint(ip_address(host), port)


@pytest.mark.parametrize(
    ("host", "ip"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::FFFF:7f00:1", "127.0.0.1"),
        ("64:ff9b::a00:1", "64:ff9b::a00:1"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_an_address_is_known_however_it_is_written(host, ip):
    assert str(ip_of(host)) == ip


@pytest.mark.parametrize("host", ["localhost", "example.org", "1.2.3.4.5", "a1", "münchen.example"])
def test_names_are_no_addresses(host):
    assert ip_of(host) is None


@pytest.mark.parametrize("text", ["192.0.2.7", "192.0.2.7:0", "192.0.2.7:65536", ":7", "a:b", "a:-1", "a:٣"])
def test_what_has_no_host_and_port_is_refused(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_endpoint(text)


def test_targets_are_read_as_they_are_written():
    assert split_endpoint("[2001:db8::1]:7") == ("2001:db8::1", 7)
    for one in (endpoint("192.0.2.7"), endpoint("2001:db8::1", 65535)):
        assert Endpoint.from_target(one.target) == one
    assert endpoint("2001:db8::1").target == "ipv6:[2001:db8::1]:7"


def test_families_come_in_turn_ipv6_first_and_nothing_twice():
    four, six = (
        [endpoint(f"192.0.2.{n}") for n in range(3)],
        [endpoint("2001:db8::1"), endpoint("2001:db8::2")],
    )
    assert interleaved([*four, *four, *six]) == [six[0], four[0], six[1], four[1], four[2]]
    assert interleaved(four) == four
    assert interleaved([]) == []
