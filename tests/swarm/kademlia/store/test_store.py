"""The records that a node keeps while there are places for all. The files beside this one fill it."""

from __future__ import annotations

import pytest

from p2pinfer.swarm.kademlia.store import (
    EXPIRED,
    MAX_KEYS_PER_PEER,
    OLDER,
    REMEMBERED_STAY_SECONDS,
    TOO_MANY_KEYS,
    RecordStore,
    Stored,
)
from tests.swarm.kademlia.store.keeping import KEY, Clock, put

KEPT = Stored(refusal="", is_full=False, records=0)


def test_the_newest_expiry_of_each_peer_wins() -> None:
    store = RecordStore(Clock())

    assert put(store, "anna", data=b"old", expires_at=1010) == KEPT
    assert put(store, "anna", data=b"new", expires_at=1020) == KEPT
    assert put(store, "anna", data=b"old", expires_at=1010).refusal == OLDER
    assert put(store, "bert", data=b"other", expires_at=1005).refusal == ""
    assert sorted(store.get(KEY)) == [b"new", b"other"]


def test_the_same_record_again_is_welcome_but_another_with_its_expiry_isnt() -> None:
    store = RecordStore(Clock())

    assert put(store, "anna", data=b"one", expires_at=1010) == KEPT
    assert put(store, "anna", data=b"one", expires_at=1010) == KEPT
    assert put(store, "anna", data=b"two", expires_at=1010).refusal == OLDER


def test_an_answer_counts_the_live_records_of_others() -> None:
    clock = Clock()
    store = RecordStore(clock)
    for number in range(3):
        assert put(store, f"old{number}", expires_at=1010).records == number
        put(store, f"old{number}", expires_at=1011, key=b"elsewhere")
    assert put(store, "old0", expires_at=1012).records == 2
    clock.now = 1011

    assert put(store, "new", expires_at=1020).records == 1


def test_records_vanish_when_they_expire_and_not_before() -> None:
    clock = Clock()
    store = RecordStore(clock)
    put(store, "anna", data=b"old", expires_at=1010)
    put(store, "anna", data=b"new", expires_at=1020)

    clock.now = 1015
    assert store.get(KEY) == [b"new"]
    clock.now = 1020
    assert store.get(KEY) == []
    assert len(store) == 0
    assert put(store, "anna", data=b"late", expires_at=1020).refusal == EXPIRED


def test_one_peer_has_few_keys_and_is_told_so() -> None:
    store = RecordStore(Clock())

    for number in range(MAX_KEYS_PER_PEER):
        assert put(store, "anna", key=b"%d" % number, expires_at=1010) == KEPT
    assert put(store, "anna", key=b"one more", expires_at=1010) == Stored(
        refusal=TOO_MANY_KEYS, is_full=False, records=0
    )
    assert put(store, "anna", key=b"0", data=b"y", expires_at=1011) == KEPT  # what it has, it may renew


def test_a_new_store_takes_over_what_an_old_one_keeps_and_how_long_it_was_there() -> None:
    clock = Clock()
    old, new = RecordStore(clock), RecordStore(clock)
    put(old, "anna", data=b"older", expires_at=1010)
    put(old, "bert", data=b"y", expires_at=1010)
    clock.now = 1001
    put(new, "anna", data=b"newer", expires_at=1020)

    new.take_over(old)

    assert sorted(new.get(KEY)) == [b"newer", b"y"]
    assert {held.since for held in new._records[KEY].values()} == {1000.0}


@pytest.mark.parametrize("stayed", [0.0, REMEMBERED_STAY_SECONDS], ids=["briefly", "for long"])
def test_a_tombstone_that_has_expired_is_followed_by_newer_records_only(stayed: float) -> None:
    clock = Clock()
    store = RecordStore(clock)
    put(store, "anna", data=b"alive", expires_at=1200)
    clock.now += stayed
    put(store, "anna", data=b"left", expires_at=1200.001)
    clock.now = 1200.001

    assert put(store, "anna", data=b"alive", expires_at=1200).refusal == EXPIRED
    assert put(store, "anna", data=b"back", expires_at=1260) == KEPT


def test_however_often_records_are_refreshed_the_heap_has_one_entry_for_each() -> None:
    clock = Clock()
    store = RecordStore(clock)
    for _ in range(100):
        clock.now += 17
        put(store, "anna", expires_at=clock.now + 60)
        assert len(store._expiries) == len(store) == 1


def test_a_clock_that_is_set_back_lets_records_be_replaced() -> None:
    """What was stored while it was ahead would have been the newest for as long."""
    clock = Clock()
    store = RecordStore(clock)
    clock.now = 10_000.0
    assert put(store, "anna", data=b"ahead", expires_at=10_060) == KEPT
    clock.now = 1000.0
    assert put(store, "anna", data=b"new", expires_at=1060) == KEPT
    assert store.get(KEY) == [b"new"]
    clock.now = 1061.0
    assert store.get(KEY) == []
