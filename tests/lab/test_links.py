"""The numbers of links, and how the router reads them."""

from __future__ import annotations

import dataclasses

import pytest

from scripts.lab import PROFILES, DirectionCounters, HostCounters, LabError, Link
from scripts.lab.counters import parse_counters


def test_the_profiles_are_those_of_the_manual():
    """Milliseconds, Mbit/s up and down, and what the satellite adds."""
    assert {name: link.describe() for name, link in PROFILES.items()} == {
        "lan": "0.1 ms, 1000/1000 Mbit/s",
        "home-fibre": "10 ms, 100/500 Mbit/s",
        "home-cable": "20 ms, 20/200 Mbit/s",
        "satellite": "45 ms +-10, 10/100 Mbit/s, 0.5 % loss",
    }


def test_the_links_of_two_hosts_share_delay_jitter_and_loss():
    """Each link does half of it, so that the profile's numbers hold from end to end."""
    delay, jitter, up, down, loss = PROFILES["satellite"].in_router_words().split()

    assert (int(delay), int(jitter)) == (22_500_000, 5_000_000)
    assert (float(up), float(down)) == (10e6, 100e6)
    assert 1 - (1 - float(loss)) ** 2 == pytest.approx(0.005)


@pytest.mark.parametrize(
    "wrong",
    [
        {"delay_seconds": -0.1},
        {"delay_seconds": float("nan")},
        {"jitter_seconds": 0.2},
        {"up_bits_per_second": 0.0},
        {"down_bits_per_second": float("inf")},
        {"loss": 1.5},
    ],
)
def test_impossible_links_are_refused(wrong: dict[str, float]):
    """A wrong link is refused before the router gets it."""
    link = Link(delay_seconds=0.1, up_bits_per_second=1e6, down_bits_per_second=1e6)
    with pytest.raises(ValueError, match="a link's"):
        dataclasses.replace(link, **wrong)


def test_counters_are_read_by_host_and_direction():
    """The router knows indices, users know names."""
    found = parse_counters(["2 up 5 600 1 2 3 4", "2 down 7 800 0 0 0 0"], {2: "car"})

    up = DirectionCounters(packets=5, bytes=600, lost=1, overflowed=2, cut=3, unroutable=4)
    assert found == {"car": HostCounters(up=up, down=DirectionCounters(packets=7, bytes=800))}


def test_counters_that_make_no_sense_are_an_error():
    """The router in the cache could be another version."""
    with pytest.raises(LabError, match="isn't understood: 2 up many"):
        parse_counters(["2 up many"], {2: "car"})
