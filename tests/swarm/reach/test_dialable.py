"""Nobody is made to knock at doors: what may be dialled depends on where this machine and its swarm are."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.swarm.reach.dialable import Kind, Surroundings, kind_of, may_dial, surroundings

HOME = ip_network("192.168.1.0/24")
OFFICE = ip_network("10.1.0.0/16")
ULA = ip_network("fd00:1::/64")
DOCKER = ip_network("172.17.0.0/16")
PUBLIC = ip_network("8.8.4.0/24")
LOOPS = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
ANYWHERE = ("0.0.0.0", "::")


def member(*initial: str, listen=ANYWHERE, announced=(), own=(HOME, ULA), bridges=(DOCKER,)) -> Surroundings:
    return surroundings(
        initial_hosts=initial,
        listen_hosts=listen,
        announced_hosts=announced,
        own=[*LOOPS, *own],
        bridges=bridges,
    )


STRANGER = member("8.8.8.8")


@pytest.mark.parametrize(
    ("ip", "kind"),
    [
        ("8.8.8.8", Kind.PUBLIC),
        ("2a00:1450::1", Kind.PUBLIC),
        ("::ffff:8.8.8.8", Kind.PUBLIC),
        ("64:ff9b::8.8.8.8", Kind.PUBLIC),
        ("2002:808:808::1", Kind.PUBLIC),
        ("10.0.0.1", Kind.PRIVATE),
        ("172.16.0.1", Kind.PRIVATE),
        ("172.31.255.255", Kind.PRIVATE),
        ("172.32.0.1", Kind.PUBLIC),
        ("192.168.0.1", Kind.PRIVATE),
        ("100.64.0.1", Kind.PRIVATE),
        ("100.127.255.255", Kind.PRIVATE),
        ("100.128.0.1", Kind.PUBLIC),
        ("fd12::1", Kind.PRIVATE),
        ("::ffff:10.0.0.1", Kind.PRIVATE),
        ("127.0.0.1", Kind.LOOPBACK),
        ("127.255.255.254", Kind.LOOPBACK),
        ("::1", Kind.LOOPBACK),
        ("::ffff:127.0.0.1", Kind.LOOPBACK),
        ("64:ff9b::10.0.0.1", Kind.NOWHERE),
        ("64:ff9b::127.0.0.1", Kind.NOWHERE),
        ("64:ff9b:1::1", Kind.NOWHERE),
        ("2002:a00:1::1", Kind.NOWHERE),
        ("2002:7f00:1::1", Kind.NOWHERE),
        ("2001:0:808:808::1", Kind.NOWHERE),  # Teredo
        ("::127.0.0.1", Kind.NOWHERE),
        ("0.0.0.0", Kind.NOWHERE),
        ("::", Kind.NOWHERE),
        ("0.1.2.3", Kind.NOWHERE),
        ("169.254.169.254", Kind.NOWHERE),  # the metadata of clouds
        ("fe80::1", Kind.NOWHERE),
        ("fec0::1", Kind.NOWHERE),
        ("224.0.0.1", Kind.NOWHERE),
        ("239.255.255.250", Kind.NOWHERE),
        ("ff02::1", Kind.NOWHERE),
        ("255.255.255.255", Kind.NOWHERE),
        ("240.0.0.1", Kind.NOWHERE),
        ("192.0.2.1", Kind.NOWHERE),
        ("198.51.100.1", Kind.NOWHERE),
        ("203.0.113.1", Kind.NOWHERE),
        ("198.18.0.1", Kind.NOWHERE),
        ("192.0.0.8", Kind.NOWHERE),
        ("2001:db8::1", Kind.NOWHERE),
        ("3fff::1", Kind.NOWHERE),
        ("4000::1", Kind.NOWHERE),
    ],
)
def test_what_an_address_is(ip, kind):
    assert kind_of(ip_address(ip)) is kind


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "::1", "192.168.1.7", "192.168.1.1", "172.17.0.2", "10.0.0.1", "fd00:1::7", "100.64.0.1",
        "169.254.169.254", "fe80::1", "fe80::1%eth0", "8.8.8.8%1", "::ffff:127.0.0.1", "::ffff:192.168.1.7",
        "64:ff9b::c0a8:107", "2002:c0a8:107::", "0.0.0.0", "255.255.255.255",
        "localhost", "car.example", "127.1", "0x7f.1", "2130706433", "", " 8.8.8.8", "8.8.8.8:80", "[::1]",
    ],
)  # fmt: skip
def test_in_a_public_swarm_a_record_leads_to_nobody_at_home(host):
    assert not may_dial(host, STRANGER)


@pytest.mark.parametrize("host", ["8.8.8.8", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_may_be_dialled_from_anywhere(host):
    for here in (STRANGER, member(), member("127.0.0.1"), Surroundings()):
        assert may_dial(host, here)


def test_a_swarm_that_was_joined_at_home_is_dialled_at_home():
    for here in (member("192.168.1.9"), member("192.168.1.9", "127.0.0.1"), member("::ffff:192.168.1.9")):
        assert may_dial("192.168.1.7", here)
        assert may_dial("::ffff:192.168.1.7", here)
        assert not may_dial("192.168.2.7", here)
        assert not may_dial("172.17.0.2", here)
        assert not may_dial("127.0.0.1", here)


def test_only_the_network_in_which_it_was_joined_counts():
    here = member("10.1.0.1", own=(HOME, OFFICE))
    assert may_dial("10.1.2.3", here)
    assert not may_dial("192.168.1.7", here)


def test_one_public_peer_or_unknown_name_and_the_swarm_is_everybodys():
    for initial in (("192.168.1.9", "8.8.8.8"), ("192.168.1.9", "car.example"), ("fd00:2::1",)):
        assert not may_dial("192.168.1.7", member(*initial))


def test_a_peer_that_libp2p_has_authenticated_at_a_private_address_may_be_dialled_there():
    assert may_dial("192.168.1.7", STRANGER, ["192.168.1.7"])
    assert may_dial("fd00:1::7", STRANGER, ["FD00:1:0::7"])
    assert not may_dial("192.168.1.8", STRANGER, ["192.168.1.7"])
    assert not may_dial("10.0.0.7", STRANGER, ["10.0.0.7"])  # no network of ours: some router's other side
    assert not may_dial("127.0.0.1", STRANGER, ["127.0.0.1"])
    assert not may_dial("169.254.1.1", STRANGER, ["169.254.1.1"])
    assert not may_dial("192.168.1.7", STRANGER, ["", "x"])


def test_loopback_is_dialled_only_in_a_swarm_of_this_machine_alone():
    here = member("127.0.0.1", listen=("127.0.0.1",))
    for host in ("127.0.0.1", "127.3.2.1", "::1"):
        assert may_dial(host, here)
        assert may_dial(host, member("127.0.0.1", "::1", listen=()))  # a client
        assert may_dial(host, member(listen=("127.0.0.1", "::1")))  # who began it
        assert not may_dial(host, member("127.0.0.1"))
        assert not may_dial(host, member("127.0.0.1", "8.8.8.8", listen=("127.0.0.1",)))
        assert not may_dial(host, member("127.0.0.1", "car.example", listen=()))
        assert not may_dial(host, member())
        assert not may_dial(host, member("192.168.1.9", listen=()))
        assert not may_dial(host, member(listen=("127.0.0.1",), announced=("8.8.8.8",)))


def test_who_began_a_swarm_at_home_dials_at_home_unless_it_is_public():
    assert may_dial("192.168.1.7", member())
    assert not may_dial("192.168.1.7", member(announced=("8.8.4.4",)))
    assert not may_dial("192.168.1.7", member(announced=("car.example",)))
    assert not may_dial("192.168.1.7", member(own=(HOME, PUBLIC)))


def test_containers_are_dialled_only_where_the_swarm_was_joined_among_them():
    here = member("172.17.0.5")
    assert may_dial("172.17.0.2", here)
    assert not may_dial("192.168.1.7", here)
    assert not may_dial("172.17.0.2", member("127.0.0.1"))


def test_without_knowledge_of_the_machine_only_public_addresses_are_dialled():
    here = member("192.168.1.9", own=(), bridges=())
    assert not may_dial("192.168.1.7", here)
    assert not may_dial("192.168.1.7", here, ["192.168.1.7"])


@given(st.text(max_size=50) | st.ip_addresses().map(str))
def test_any_text_is_judged(host):
    assert may_dial(host, STRANGER) in (True, False)
