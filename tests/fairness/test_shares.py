"""What is held is bounded for keys, for sources and in all, with a part for those who are known."""

from __future__ import annotations

import pytest

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Bound, Lack, Shares
from p2pinfer.fairness.sources import Source


def guest(key: int | None, *sources: str, is_known: bool = False) -> Guest:
    return Guest(
        key=None if key is None else bytes([key]), sources=tuple(map(Source, sources)), is_known=is_known
    )


@pytest.fixture
def shares() -> Shares:
    return Shares(Bound(in_all=10, per_source=6, per_key=3, for_known=2))


def test_a_key_has_no_more_than_its_bound(shares):
    shares.take(guest(1, "a"), 3)
    assert shares.lack(guest(1, "b")) is Lack.KEY
    assert shares.lack(guest(2, "a")) is None


def test_fresh_keys_of_a_source_share_its_bound(shares):
    shares.take(guest(1, "a"), 3)
    shares.take(guest(2, "a"), 3)
    assert shares.lack(guest(3, "a")) is Lack.SOURCE
    assert shares.lack(guest(3, "b")) is None


def test_who_is_known_is_not_shut_out_by_the_crowd_of_its_network(shares):
    shares.take(guest(1, "a"), 3)
    shares.take(guest(2, "a"), 3)
    assert shares.lack(guest(3, "a", is_known=True)) is None


def test_strangers_never_get_what_is_kept_for_the_known(shares):
    for key, source in ((1, "a"), (2, "b"), (3, "c")):
        shares.take(guest(key, source), 2)
    shares.take(guest(4, "d"), 2)
    assert shares.lack(guest(5, "e")) is Lack.STRANGERS
    assert shares.lack(guest(5, "e", is_known=True), 2) is None
    assert shares.lack(guest(5, "e", is_known=True), 3) is Lack.ALL


def test_all_sources_of_a_guest_are_bounded(shares):
    shares.take(guest(1, "peer", "relay"), 3)
    shares.take(guest(2, "another peer", "relay"), 3)
    assert shares.lack(guest(3, "a third peer", "relay")) is Lack.SOURCE


def test_who_has_not_said_its_key_is_bounded_by_its_source(shares):
    shares.take(guest(None, "a"), 6)
    assert shares.lack(guest(None, "a")) is Lack.SOURCE


def test_what_is_given_back_is_free_and_leaves_no_trace(shares):
    one = guest(1, "a")
    shares.take(one, 3)
    shares.give_back(one, 3)
    assert (shares.taken, shares.of_key(b"\1"), shares.of_source(Source("a"))) == (0, 0, 0)
    assert not shares._keys and not shares._sources
