"""Whom programs knew in which swarm: never another swarm's peers, bounded, and forgotten in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.coordinates.position import Whereabouts
from p2pinfer.swarm.coordinates.quantized import ORIGIN, Quantized
from p2pinfer.swarm.coordinates.vivaldi import Coordinate
from p2pinfer.swarm.membership.known_peers import (
    KEPT_SECONDS,
    MOST_INITIAL,
    MOST_MADDRS,
    MOST_PEERS,
    MOST_SWARMS,
    KnownPeer,
    KnownSwarm,
    Swarms,
    as_json,
    can_be_kept,
    from_json,
    peers_of,
    remember,
    whereabouts_of,
)
from p2pinfer.types import PeerId

NOW = 1.8e9
DAY = 86400.0
MADDR = "/ip4/192.0.2.1/tcp/1"
ONE, OTHER, THIRD = (Identity.ephemeral().peer_id for _ in range(3))


HERE = Whereabouts(point=Coordinate(x=0.03), doubt_seconds=0.01, announced=Quantized(x=45, y=42, height=0))
THERE = Whereabouts(point=Coordinate(), doubt_seconds=0.02, announced=ORIGIN)


def known(first: float = NOW, last: float = NOW, maddr: str = MADDR) -> KnownPeer:
    return KnownPeer(maddrs=(maddr,), first_seen=first, last_seen=last)


def crowd(count: int) -> list[PeerId]:
    return [PeerId(f"12D3KooW{'a' * 40}{number:04}".replace("0", "z")) for number in range(count)]


def test_peers_are_known_only_in_a_swarm_with_one_of_the_same_initial_peers() -> None:
    swarms = remember({}, {ONE, OTHER}, {THIRD: known()}, NOW)
    assert peers_of(swarms, {OTHER, THIRD}, NOW) == {THIRD: known()}
    assert peers_of(swarms, {THIRD}, NOW) == {}
    assert peers_of(swarms, set(), NOW) == {}


def test_two_swarms_stay_two_whatever_is_written() -> None:
    peers = crowd(2)
    swarms = remember({}, {ONE}, {peers[0]: known()}, NOW)
    swarms = remember(swarms, {OTHER}, {peers[1]: known()}, NOW)
    assert peers_of(swarms, {ONE}, NOW).keys() == {peers[0]}
    assert peers_of(swarms, {OTHER}, NOW).keys() == {peers[1]}


def test_the_first_time_survives_and_the_newest_address_is_taken() -> None:
    swarms = remember({}, {ONE}, {THIRD: known(NOW - 3 * DAY, NOW - 2 * DAY)}, NOW - 2 * DAY)
    moved = known(NOW, NOW, "/ip4/192.0.2.9/tcp/9")
    swarms = remember(swarms, {ONE, OTHER}, {THIRD: moved}, NOW)
    assert peers_of(swarms, {ONE}, NOW) == {THIRD: known(NOW - 3 * DAY, NOW, "/ip4/192.0.2.9/tcp/9")}


def test_a_peer_is_forgotten_after_two_weeks() -> None:
    swarms = remember({}, {ONE}, {THIRD: known()}, NOW)
    assert peers_of(swarms, {ONE}, NOW + KEPT_SECONDS)
    assert peers_of(swarms, {ONE}, NOW + KEPT_SECONDS + 1) == {}
    assert remember(swarms, {OTHER}, {}, NOW + KEPT_SECONDS + 1) == {}


def test_a_crowd_of_newcomers_pushes_out_nobody_who_was_there_for_days() -> None:
    loyal = {ONE: known(NOW - 9 * DAY, NOW - DAY), OTHER: known(NOW - 5 * DAY, NOW - DAY)}
    swarms = remember({}, {THIRD}, loyal, NOW)
    for peer in crowd(500):
        swarms = remember(swarms, {THIRD}, {peer: known(NOW, NOW + 1)}, NOW + 1)
    kept = peers_of(swarms, {THIRD}, NOW + 1)
    assert len(kept) == MOST_PEERS
    assert kept.keys() >= {ONE, OTHER}


def test_of_many_swarms_those_are_kept_that_are_no_play_on_this_machine() -> None:
    swarms = remember({}, {ONE}, {OTHER: known(NOW - DAY, NOW - DAY)}, NOW)
    for number, peer in enumerate(crowd(3 * MOST_SWARMS)):
        local = known(NOW + number, NOW + number, "/ip4/127.0.0.1/tcp/1")
        swarms = remember(swarms, {peer}, {THIRD: local}, NOW + number)
    assert len(swarms) == MOST_SWARMS
    assert peers_of(swarms, {ONE}, NOW)
    assert peers_of(swarms, {crowd(3 * MOST_SWARMS)[-1]}, NOW)


def test_the_place_in_a_swarm_is_known_in_that_swarm_and_replaced_by_the_next() -> None:
    swarms = remember({}, {ONE}, {THIRD: known()}, NOW, HERE)
    swarms = remember(swarms, {ONE}, {THIRD: known()}, NOW)
    assert whereabouts_of(swarms, {ONE, OTHER}, NOW) == HERE
    assert whereabouts_of(swarms, {OTHER}, NOW) is None
    assert whereabouts_of(swarms, {ONE}, NOW + KEPT_SECONDS + 1) is None
    swarms = remember(swarms, {ONE}, {THIRD: known()}, NOW, THERE)
    assert whereabouts_of(swarms, {ONE}, NOW) == THERE


def test_of_two_stays_in_one_swarm_the_later_place_counts() -> None:
    swarms = remember({}, {ONE, OTHER}, {THIRD: known(NOW, NOW + 9)}, NOW + 9, THERE)
    swarms = remember(swarms, {ONE}, {THIRD: known()}, NOW + 9, HERE)
    assert whereabouts_of(swarms, {ONE}, NOW + 9) == THERE


def test_a_clock_that_was_years_ahead_counts_as_of_now() -> None:
    ahead = known(NOW + 900 * DAY, NOW + 1000 * DAY)
    assert peers_of({frozenset({ONE}): KnownSwarm(peers={THIRD: ahead})}, {ONE}, NOW) == {
        THIRD: known(NOW, NOW)
    }


def test_the_most_that_is_kept_can_be_read_again() -> None:
    swarms: Swarms = {}
    maddr = "/ip6/2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/udp/65535/quic-v1"
    peers = crowd(MOST_SWARMS * MOST_PEERS)
    many = KnownPeer(maddrs=(maddr,) * 2 * MOST_MADDRS, first_seen=NOW, last_seen=NOW)
    for number in range(2 * MOST_SWARMS):
        initial = {*crowd(MOST_INITIAL), peers[number]}
        swarms = remember(swarms, initial, dict.fromkeys(peers, many), NOW, HERE)
    text = json.dumps(as_json(swarms))
    assert len(text) < 200_000
    assert from_json(json.loads(text)) == swarms


@pytest.mark.parametrize(
    ("maddr", "holds"),
    [
        (MADDR, True),
        ("/ip6/2001:db8::1/udp/7/quic-v1", True),
        ("/dns4/example.org/tcp/7", False),
        ("/ip4/192.0.2.1/tcp/1/p2p-circuit", False),
        (f"/ip4/192.0.2.1/tcp/1/p2p/{ONE}", False),
        ("/ip4/192.0.2.1", False),
        ("/ip4/192.0.2.1/tcp/1" + "/ws" * 60, False),
        ("", False),
        ("/", False),
    ],
    ids=["ip4", "ip6", "a name", "a relay", "with its id", "no port", "long", "empty", "a slash"],
)
def test_only_plain_addresses_are_kept(maddr: str, holds: bool) -> None:
    assert can_be_kept(maddr) is holds


def spoil(change: Callable[[dict[str, Any]], object]) -> object:
    good = as_json(remember({}, {ONE}, {THIRD: known()}, NOW))
    change(good)
    return good


@pytest.mark.parametrize(
    "read",
    [
        None,
        [],
        spoil(lambda file: file.update(version=2)),
        spoil(lambda file: file.update(swarms={})),
        spoil(lambda file: file.update(swarms=file["swarms"] * 17)),
        spoil(lambda file: file["swarms"][0].update(peers=[])),
        spoil(lambda file: file["swarms"][0].update(initial=["../x"])),
        spoil(lambda file: file["swarms"][0].update(initial=[7])),
        spoil(lambda file: file["swarms"][0]["peers"].update({THIRD: [["/dns4/a.example/tcp/1"], NOW, NOW]})),
        spoil(lambda file: file["swarms"][0]["peers"].update({THIRD: [[MADDR], NOW, float("nan")]})),
        spoil(lambda file: file["swarms"][0]["peers"].update({THIRD: [[MADDR], -1, NOW]})),
        spoil(lambda file: file["swarms"][0]["peers"].update({THIRD: [[MADDR], 10**400, NOW]})),
        spoil(lambda file: file["swarms"][0]["peers"].update({THIRD: [[None], NOW, NOW]})),
        spoil(lambda file: file["swarms"][0]["peers"].update({THIRD: {}})),
        spoil(lambda file: file["swarms"][0].update(position=None)),
        spoil(lambda file: file["swarms"][0].update(position={"point": [0, 0, 9]})),
    ],
    ids=[
        "nothing", "a list", "another version", "no list", "too many", "no peers", "no id", "a number as id",
        "a name", "not a number", "negative", "a huge number", "no address", "no peer",
        "no position", "half a position",
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_refused_with_a_value_error(read: object) -> None:
    with pytest.raises(ValueError, match=r"not |more than|out of bounds"):
        from_json(read)
