"""Home routers with real packets: what each kind lets in, and which public port it gives."""

from __future__ import annotations

import pytest

from scripts.lab import LabError, RouterKind, WanLab
from tests.lab.home import BEHIND_A_ROUTER, LAN, PORT, UDP_PASSES, add_router, home_of
from tests.lab.speaker import speaking


@pytest.mark.parametrize("kind", UDP_PASSES)
def test_an_answer_comes_in_and_the_sender_is_seen_at_the_router(lab: WanLab, kind: RouterKind):
    """What goes out has the router's public address, and who answers is heard."""
    with home_of(lab, kind) as home:
        home.inside.send("hello", home.friend_address, PORT)
        heard = home.friend.hear()
        assert heard is not None and heard[:2] == ("hello", home.router.public_address)
        home.friend.send("welcome", *heard[1:])

        assert home.inside.hear() == ("welcome", home.friend_address, PORT)


@pytest.mark.parametrize("kind", UDP_PASSES)
def test_a_public_port_depends_on_the_destination_only_where_it_should(lab: WanLab, kind: RouterKind):
    """A usual home keeps the host's own port; a symmetric one draws a port for each destination."""
    with home_of(lab, kind) as home:
        home.inside.send("1", home.friend_address, PORT)
        home.inside.send("2", home.friend_address, PORT + 1)
        home.inside.send("3", home.stranger_address, PORT)
        heard = [one.hear() for one in (home.friend, home.other_port, home.stranger)]

    ports = [packet[2] for packet in heard if packet is not None]
    if kind is RouterKind.SYMMETRIC:
        assert len(set(ports)) == 3
    else:
        assert ports == [PORT, PORT, PORT]


@pytest.mark.parametrize("kind", UDP_PASSES)
def test_packets_that_nobody_asked_for_come_in_at_a_full_cone_only(lab: WanLab, kind: RouterKind):
    """Neither another port of who was spoken to, nor another host, gets an answer's way in."""
    with home_of(lab, kind) as home:
        public = home.router.public_address
        home.stranger.send("before", public, PORT)  # no kind knows this port yet
        home.inside.send("hello", home.friend_address, PORT)
        heard = home.friend.hear()
        assert heard is not None
        home.other_port.send("other port", public, heard[2])
        home.stranger.send("stranger", public, heard[2])

        if kind is RouterKind.FULL_CONE:
            texts = {packet[0] for packet in (home.inside.hear(), home.inside.hear()) if packet is not None}
            assert texts == {"other port", "stranger"}
        else:
            assert home.inside.hears_nothing()


@pytest.mark.parametrize("kind", BEHIND_A_ROUTER)
def test_a_home_dials_tcp_and_is_dialled_at_a_full_cone_only(lab: WanLab, kind: RouterKind):
    """Also where UDP is blocked. A full cone lets in who dials a port from which the host has dialled."""
    with home_of(lab, kind) as home:
        public = home.router.public_address
        assert not home.stranger.dial(public, PORT)
        assert home.inside.dial(home.friend_address, PORT, own_port=PORT, seconds=5)

        assert home.stranger.dial(public, PORT) is (kind is RouterKind.FULL_CONE)


def test_two_homes_that_send_at_the_same_time_reach_each_other(lab: WanLab):
    """Hole punching: the first packet of one side is dropped, and opens the way for the other side's."""
    routers = [add_router(lab, name, RouterKind.HOME) for name in ("here", "there")]
    hosts = [router.add_host(f"host-{router.name}") for router in routers]
    with speaking(hosts[0].prefix, PORT) as here, speaking(hosts[1].prefix, PORT) as there:
        here.send("too early", routers[1].address, PORT)
        assert there.hears_nothing()
        there.send("through", routers[0].address, PORT)
        assert here.hear() == ("through", routers[1].address, PORT)
        here.send("both ways", routers[1].address, PORT)
        assert there.hear() == ("both ways", routers[0].address, PORT)


def test_two_symmetric_homes_do_not_reach_each_other(lab: WanLab):
    """Each sends from another port than the one that the other one expects."""
    routers = [add_router(lab, name, RouterKind.SYMMETRIC) for name in ("here", "there")]
    hosts = [router.add_host(f"host-{router.name}") for router in routers]
    with speaking(hosts[0].prefix, PORT) as here, speaking(hosts[1].prefix, PORT) as there:
        for _ in range(3):
            here.send("no", routers[1].address, PORT)
            there.send("no", routers[0].address, PORT)

        assert here.hears_nothing() and there.hears_nothing()


def test_blocked_udp_passes_in_neither_direction(lab: WanLab):
    """Nothing leaves, so nothing can be answered."""
    with home_of(lab, RouterKind.UDP_BLOCKED) as home:
        home.inside.send("hello", home.friend_address, PORT)
        home.friend.send("hello", home.router.public_address, PORT)

        assert home.friend.hears_nothing() and home.inside.hears_nothing()


@pytest.mark.parametrize("kind", UDP_PASSES)
def test_hosts_of_one_home_use_the_same_port_and_hear_each_other(lab: WanLab, kind: RouterKind):
    """Each gets its own answers; at home they talk without the router's rules."""
    router, friend = add_router(lab, "router", kind), lab.add_host("friend", LAN)
    first, second = router.add_host("first"), router.add_host("second")
    with (
        speaking(first.prefix, PORT) as one,
        speaking(second.prefix, PORT) as two,
        speaking(friend.prefix, PORT) as outside,
    ):
        for speaker, text in ((one, "one"), (two, "two")):
            speaker.send(text, friend.address, PORT)
            heard = outside.hear()
            assert heard is not None and heard[0] == text
            outside.send(f"to {text}", *heard[1:])
            assert speaker.hear() == (f"to {text}", friend.address, PORT)
        one.send("neighbour", second.address, PORT)
        assert two.hear() == ("neighbour", first.address, PORT)


def test_a_host_behind_a_carrier_passes_two_routers(lab: WanLab):
    """The public address is the outer router's, which also has the link."""
    router = add_router(lab, "router", RouterKind.CARRIER)
    assert router.address.startswith("100.64.") and router.outer is not None
    assert router.public_address == router.outer.address == "11.77.0.2"

    router.add_host("host")
    assert lab.link_of("host") == "router-carrier"
    with pytest.raises(LabError, match="host has no link of its own"):
        lab.cut("host")


def test_neighbours_of_one_carrier_keep_their_nat(lab: WanLab):
    """A router behind another one is added by hand, and shares its link."""
    carrier = add_router(lab, "carrier", RouterKind.HOME)
    homes = [add_router(lab, name, RouterKind.HOME, behind=carrier) for name in ("left", "right")]
    hosts = [home.add_host(f"host-{home.name}") for home in homes]
    with speaking(hosts[0].prefix, PORT) as left, speaking(hosts[1].prefix, PORT) as right:
        left.send("too early", homes[1].address, PORT)
        assert right.hears_nothing()
        right.send("through", homes[0].address, PORT)
        assert left.hear() == ("through", homes[1].address, PORT)


def test_the_link_of_the_router_shapes_what_passes_it(lab: WanLab):
    """A cut of the router takes its hosts off the network, and its counters count them."""
    with home_of(lab, RouterKind.HOME) as home:
        lab.cut("router")
        home.inside.send("lost", home.friend_address, PORT)
        assert home.friend.hears_nothing()
        lab.heal("router")
        home.inside.send("through", home.friend_address, PORT)
        assert home.friend.hear() is not None

    counted = lab.counters()["router"].up
    assert counted.cut == counted.packets == 1
