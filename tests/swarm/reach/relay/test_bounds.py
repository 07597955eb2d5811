"""What a relay allows whom: places, addresses, quotas, rates and gigabytes. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.reach.relay.allowance import Allowance, TokenBucket, TrafficLimits, allowance_of
from p2pinfer.swarm.reach.relay.messages import MAX_MADDRS, Status
from p2pinfer.swarm.reach.relay.month import Month
from p2pinfer.swarm.reach.relay.observed import candidates, full_maddrs, guest_at
from p2pinfer.swarm.reach.relay.passed import PassedOn
from p2pinfer.swarm.reach.relay.reservations import Reservation, Reservations

PEERS = [Identity.ephemeral().peer_id for _ in range(6)]
PEER = PEERS[0]


def test_an_allowance_says_why_and_until_when_nothing_is_relayed() -> None:
    def allowed(limits: TrafficLimits, relayed: int = 0, left: float | None = None) -> Allowance:
        return allowance_of(
            limits, relayed_bytes=relayed, seconds_to_next_month=77.0, traffic_left_bytes=left
        )

    assert allowed(TrafficLimits()) == Allowance()
    assert allowed(TrafficLimits(mbit_per_s=8)).bytes_per_second == 1e6
    assert "owner" in allowed(TrafficLimits(enabled=False)).refusal
    assert allowed(TrafficLimits(monthly_gb=1), relayed=10**9 - 1).refusal == ""
    for refused in (
        allowed(TrafficLimits(monthly_gb=1), relayed=10**9),
        allowed(TrafficLimits(monthly_gb=0)),
        allowed(TrafficLimits(), left=0.0),
        allowed(TrafficLimits(), left=-5.0),
    ):
        assert refused.refusal
        assert refused.come_back_seconds == 77.0


def test_a_bucket_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = TokenBucket()
    bucket.set_rate(1000.0)
    assert bucket.take(4000, now=100.0) == 0.0
    assert [bucket.take(500, now=100.0) for _ in range(3)] == [0.5, 1.0, 1.5]
    assert bucket.take(500, now=101.5) == 0.5
    assert bucket.take(4000, now=1000.0) == 0.0  # a long pause earns one burst, not many
    assert bucket.take(1000, now=1000.0) == 1.0


def test_a_bucket_without_a_rate_lets_everything_through() -> None:
    bucket = TokenBucket()
    assert bucket.take(10**12, now=0.0) == 0.0
    bucket.set_rate(10.0)
    assert bucket.take(40, now=0.0) == 0.0
    bucket.set_rate(None)
    assert bucket.take(10**12, now=0.0) == 0.0


def test_over_a_minute_no_more_passes_than_the_rate_and_one_burst() -> None:
    bucket, now, passed = TokenBucket(), 0.0, 0
    bucket.set_rate(1000.0)
    while now < 60.0:
        now += bucket.take(317, now=now)
        passed += 317
    assert 60_000 < passed <= 64_000 + 317


def place(number: int, host: str, made_at: float = 0.0) -> Reservation:
    return Reservation(PEERS[number], guest_at(PEERS[number], [f"/ip4/{host}/tcp/1"]), made_at)


def test_places_are_bounded_in_all_and_for_each_network() -> None:
    places = Reservations(most=4, most_per_source=2)
    first = place(0, "7.0.0.1")
    assert places.replace(first) == ()
    assert places.replace(place(1, "7.0.0.2")) == ()
    assert places.replace(place(2, "7.0.0.3")) is Status.LIMIT
    assert places.replace(place(3, "7.0.1.1")) == ()
    assert places.replace(place(4, "7.0.2.1")) == ()
    again = place(0, "7.0.0.1")
    assert places.replace(again) == (first,)  # also where all places are taken
    places.remove(first)  # its stream ends only now: the new one stays
    assert PEERS[0] in places
    places.remove(again)
    assert PEERS[0] not in places
    assert places.replace(place(2, "7.0.0.3")) == ()
    assert len(places) == 4


def test_the_newest_of_a_crowd_makes_room_for_another_network_and_nobody_else_does() -> None:
    """Identities cost nothing, and who is found here for long is known to others there."""
    places = Reservations(most=4, most_per_source=3)
    crowd = [place(number, "7.0.0.1", float(number)) for number in range(3)]
    for one in (*crowd, place(3, "7.0.1.1")):
        assert places.replace(one) == ()
    assert places.replace(place(4, "7.0.2.1")) == (crowd[2],)
    assert places.replace(place(5, "7.0.3.1")) is not Status.FULL
    places = Reservations(most=2)
    assert places.replace(place(0, "7.0.0.1")) == places.replace(place(1, "7.0.1.1")) == ()
    assert places.replace(place(2, "7.0.2.1")) is Status.FULL


def test_a_peer_that_moves_to_a_crowded_network_keeps_its_old_place() -> None:
    places = Reservations(most_per_source=1)
    places.replace(place(0, "7.0.0.1"))
    places.replace(place(1, "7.0.1.1"))
    assert places.replace(place(1, "7.0.0.1")) is Status.LIMIT
    assert PEERS[1] in places


def test_seen_addresses_become_full_ones_and_odd_ones_are_left_out() -> None:
    seen = (
        "/ip4/192.0.2.7/udp/7/quic-v1",
        f"/ip4/192.0.2.7/udp/7/quic-v1/p2p/{PEER}",
        "/ip4/192.0.2.7/tcp/7/ws",
        f"/ip4/192.0.2.9/tcp/7/p2p/{PEERS[1]}/p2p-circuit",
        "/ip6/2001:db8::1/tcp/8",
    )
    assert full_maddrs(PEER, seen) == (
        f"/ip4/192.0.2.7/udp/7/quic-v1/p2p/{PEER}",
        f"/ip6/2001:db8::1/tcp/8/p2p/{PEER}",
    )
    assert len(full_maddrs(PEER, [f"/ip4/192.0.2.7/tcp/{port}" for port in range(1, 100)])) == MAX_MADDRS


@pytest.mark.parametrize(
    ("claimed", "is_kept"),
    [
        ("/ip4/192.0.2.7/tcp/9", True),
        ("/ip4/192.0.2.8/tcp/9", False),
        ("/ip6/::ffff:192.0.2.7/tcp/9", True),
        ("/ip6/2001:db8::7/tcp/9", False),
        ("/ip4/127.0.0.1/tcp/9", False),
        ("/dns4/example.org/tcp/9", False),
        ("", False),
        ("/ip4", False),
        ("/ip4/x/tcp/1", False),
    ],
)
def test_nobody_claims_an_address_of_third_parties(claimed: str, is_kept: bool) -> None:
    seen = ("/ip4/192.0.2.7/udp/7/quic-v1",)
    assert candidates(seen, [claimed]) == (*seen, *([claimed] if is_kept else []))
    assert candidates((), [claimed]) == ()
    assert len(candidates(seen, [f"/ip4/192.0.2.7/tcp/{port}" for port in range(1, 100)])) == MAX_MADDRS


def test_a_guest_comes_from_the_networks_where_it_is_seen() -> None:
    def sources(*maddrs: str) -> tuple[str, ...]:
        return guest_at(PEER, maddrs).sources

    assert sources("/ip4/192.0.2.7/tcp/1", "/ip4/192.0.2.8/udp/2/quic-v1") == ("192.0.2.0/24",)
    assert sources("/ip6/2001:db8:1:2::3/tcp/1") == sources("/ip6/2001:db8:1:9::4/tcp/1") != sources()
    assert sources("/ip6/2001:db8:1::3/tcp/1") != sources("/ip6/2001:db8:2::3/tcp/1")
    assert sources("/ip6/::ffff:192.0.2.7/tcp/1") == ("192.0.2.0/24",)
    assert sources("/ip4/192.0.2.7/tcp/1/ws") == ("192.0.2.0/24",)
    assert sources("/dns4/example.org/tcp/1") == sources() != ()


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)

    def now(self, _: object) -> datetime:
        return self.at


def test_a_month_is_counted_over_restarts_and_begins_anew(tmp_path: Path) -> None:
    clock, passed, path = Clock(), PassedOn(), tmp_path / "relayed" / "peer.json"
    passed.count(1000)  # before this relay
    month = Month(path, zone=UTC, passed=passed, now=clock.now)
    passed.count(20)
    assert month.relayed_bytes == 20
    assert month.seconds_left == 60.0
    month.save()

    month = Month(path, zone=UTC, passed=passed, now=clock.now)
    assert month.relayed_bytes == 20
    passed.count(5)
    assert month.relayed_bytes == 25
    month.save()
    clock.at = datetime(2026, 2, 1, tzinfo=UTC)
    assert month.relayed_bytes == 0
    assert month.seconds_left == 28 * 86400
    passed.count(7)
    assert month.relayed_bytes == 7
    assert Month(path, zone=UTC, passed=passed, now=clock.now).relayed_bytes == 0
    month.save()
    assert Month(path, zone=UTC, passed=passed, now=clock.now).relayed_bytes == 7


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "5", '{"month": "2026-01"}', '{"month": "2026-01", "relayed_bytes": -5}', "[" * 1000],
)
def test_a_damaged_count_begins_at_zero(text: str, tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text(text)
    clock = Clock()
    assert Month(path, zone=UTC, passed=PassedOn(), now=clock.now).relayed_bytes == 0


def test_a_disk_that_fails_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    passed = PassedOn()
    month = Month(tmp_path / "file" / "count", passed=passed)
    passed.count(1)
    month.save()
    assert "can't be written" in caplog.text
    assert month.relayed_bytes == 1
