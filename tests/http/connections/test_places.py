"""Who gets a place, and who loses it."""

from __future__ import annotations

from p2pinfer.fairness.sources import Source
from p2pinfer.http.connections.places import Places

CROWD, OTHER, THIRD = Source("crowd"), Source("other"), Source("third")


def test_while_there_are_places_nobody_leaves():
    places: Places[str] = Places(4)
    assert all(places.wait(name, CROWD) is None for name in "abcd")
    places.leave("a")
    assert places.wait("e", CROWD) is None


def test_the_newest_gets_in_for_the_oldest_of_the_largest_crowd():
    """Whoever came first to the server, an only connection of another source stays."""
    places: Places[str] = Places(4)
    for name, source in (("visitor", OTHER), ("a", CROWD), ("b", CROWD), ("c", CROWD)):
        places.wait(name, source)
    assert places.wait("d", CROWD) == "a"
    places.leave("a")
    assert places.wait("newcomer", THIRD) == "b"


def test_what_waits_goes_before_what_is_answered():
    places: Places[str] = Places(4)
    for name in "abc":
        places.wait(name, CROWD)
        assert places.work(name, CROWD) is None
    places.wait("idle", OTHER)
    assert places.wait("newcomer", THIRD) == "idle"


def test_who_was_answered_waits_as_the_newest():
    places: Places[str] = Places(3)
    for name in "abc":
        places.wait(name, CROWD)
    places.work("a", CROWD)
    places.wait("a", CROWD)
    assert places.wait("d", CROWD) == "b"


def test_a_fourth_of_the_places_is_kept_for_requests():
    """Answers that never end leave it: the oldest of the source with most of them goes."""
    places: Places[str] = Places(8)
    assert [places.work(name, CROWD) for name in "abcdef"] == [None] * 6
    assert places.work("newcomer", OTHER) == "a"


def test_a_single_place_works():
    places: Places[str] = Places(1)
    assert places.wait("a", CROWD) is None
    assert places.work("a", CROWD) is None
    assert places.wait("b", OTHER) == "b"
