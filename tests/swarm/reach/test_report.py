"""What an owner reads of how others reach the member, and of what it relays for them."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from p2pinfer.swarm.reach.relay.service import RelayStats
from p2pinfer.swarm.reach.report import (
    ReachReport,
    WayIn,
    as_plain,
    reached_in_words,
    relaying_in_words,
    report_of,
)
from p2pinfer.swarm.reach.verdict import Verdict
from p2pinfer.types import Way, short_id

PEER = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"


MADDRS = (f"/ip4/8.8.8.8/udp/4601/quic-v1/p2p/{PEER}", f"/ip4/8.8.8.8/tcp/4601/p2p/{PEER}")


@pytest.mark.parametrize(
    ("verdict", "relays", "way_in"),
    [
        (Verdict(is_dialable=True, maddrs=MADDRS), (), WayIn.DIRECT),
        (Verdict(is_dialable=True, maddrs=MADDRS, is_mapped=True), (), WayIn.MAPPED),
        (Verdict(is_dialable=True), (), WayIn.UNKNOWN),  # a guess, before anybody has looked
        (Verdict(is_dialable=False), (), WayIn.UNKNOWN),
        (Verdict(is_dialable=False, hosts=("8.8.8.8",)), (PEER,), WayIn.RELAYED),
        (Verdict(is_dialable=False, hosts=("8.8.8.8",)), (), WayIn.NONE),
    ],
)
def test_the_way_in_is_what_others_have_seen_and_where_there_is_a_place(verdict, relays, way_in):
    report = report_of(verdict, relays, tunnels_in={}, relayed=None)
    assert report.way_in is way_in
    assert report.maddrs == verdict.maddrs
    assert report.relays == tuple(map(short_id, relays))
    assert not report.is_relay and not report.relay_refusal


def test_what_a_relay_does_now_and_what_it_may_is_in_the_report():
    stats = RelayStats(
        refusal="",
        reservations=2,
        circuits=3,
        relayed_bytes=9_000_000,
        relayed_bytes_today=5_000_000,
        bytes_per_second=625e3,
    )
    report = report_of(Verdict(is_dialable=True, maddrs=MADDRS), (), tunnels_in={}, relayed=stats)
    assert relaying_in_words(report) == "3 connections now, 5.0 MB today, at most 5 Mbit/s"
    report = report_of(Verdict(is_dialable=True), (), tunnels_in={}, relayed=replace(stats, refusal="no"))
    assert not report.is_relay and report.relay_refusal == "no"


@pytest.mark.parametrize(
    ("endpoints", "words"),
    [
        (("198.51.100.7:4600", "8.8.8.8:4600"), "reached: directly at 8.8.8.8:4600"),
        (("[2a00:1450::7]:4600",), "reached: directly at [2a00:1450::7]:4600"),
        (("car.example.org:4600",), "reached: directly at car.example.org:4600"),
        (("192.168.1.5:4600",), "reached: directly at 192.168.1.5:4600, within its own network"),
        (("127.0.0.1:4600",), "reached: directly at 127.0.0.1:4600, on this machine only"),
        ((), "reached: directly"),
        (
            tuple(f"8.8.8.{i}:1" for i in range(5)),
            "reached: directly at 8.8.8.0:1, 8.8.8.1:1, 8.8.8.2:1 and 2 more",
        ),
    ],
)
def test_who_is_reached_directly_reads_where_and_from_how_far(endpoints: tuple[str, ...], words: str):
    """Of its addresses the ones that count: those that the most others can dial."""
    assert reached_in_words(ReachReport(way_in=WayIn.DIRECT, endpoints=endpoints)) == words


def test_without_endpoints_the_addresses_of_libp2p_are_named_once():
    words = "reached: through a mapped port of the router at 8.8.8.8:4601 by libp2p"
    assert reached_in_words(ReachReport(way_in=WayIn.MAPPED, maddrs=MADDRS)) == words
    at_home = ("192.168.1.5:4600",)  # they count for less than what the router has opened
    assert reached_in_words(ReachReport(way_in=WayIn.MAPPED, maddrs=MADDRS, endpoints=at_home)) == words


@pytest.mark.parametrize(
    ("relays", "tunnels", "words"),
    [
        ((), {}, "through relays"),
        (("…abc123",), {}, "through relay …abc123"),
        (
            ("…abc123", "…def456"),
            {Way.PUNCHED: 3, Way.RELAYED: 1},
            "through relays …abc123, …def456; 3 of 4 tunnels punched",
        ),
        (("…abc123",), {Way.RELAYED: 1}, "through relay …abc123; 0 of 1 tunnel punched"),
    ],
)
def test_behind_a_router_the_relays_are_named_and_the_holes_counted(relays, tunnels, words):
    report = ReachReport(
        way_in=WayIn.RELAYED, relays=relays, tunnels_in=tunnels, endpoints=("192.168.1.5:1",)
    )
    assert reached_in_words(report) == f"reached: behind a router, {words}"


def test_who_is_not_reached_reads_why_and_what_to_do():
    """Of the reason, if it is known."""
    line = reached_in_words(ReachReport(way_in=WayIn.NONE))
    assert line.startswith("not reachable: its ports can't be dialled")
    assert "forward two ports of the router" in line and "--dht-listen" in line
    report = ReachReport(way_in=WayIn.NONE, trouble="UDP is blocked: ask the network's owner")
    assert reached_in_words(report) == "not reachable: UDP is blocked: ask the network's owner"


def test_before_anybody_has_looked_nothing_is_promised():
    line = reached_in_words(ReachReport(way_in=WayIn.UNKNOWN, endpoints=("8.8.8.8:4600",)))
    assert line == "reached: not known yet, no other member has looked; it listens at 8.8.8.8:4600"


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (ReachReport(way_in=WayIn.RELAYED), ""),
        (ReachReport(way_in=WayIn.DIRECT, relay_refusal="its owner says no"), "nothing: its owner says no"),
        (
            ReachReport(way_in=WayIn.DIRECT, is_relay=True, relayed_circuits=3, relayed_bytes=12_000_000),
            "3 connections now, 12 MB today, no limit",
        ),
        (
            ReachReport(
                way_in=WayIn.DIRECT, is_relay=True, relay_bytes_per_second=625_000.0, relayed_circuits=1
            ),
            "1 connection now, 0 B today, at most 5 Mbit/s",
        ),
        (
            ReachReport(
                way_in=WayIn.DIRECT, relay_refusal="enough for this month", relayed_bytes=2_000_000_000
            ),
            "none now (enough for this month), 2.0 GB today, no limit",
        ),
    ],
)
def test_what_is_relayed_is_told_with_its_limit(report: ReachReport, words: str):
    assert relaying_in_words(report) == words


def test_the_json_form_has_every_field_by_its_name():
    report = ReachReport(way_in=WayIn.RELAYED, relays=("…abc123",), tunnels_in={Way.PUNCHED: 1})
    plain = as_plain(report)
    assert list(plain) == [field.name for field in fields(ReachReport)]
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["way_in"], plain["tunnels_in"]) == ("relayed", {"punched": 1})
