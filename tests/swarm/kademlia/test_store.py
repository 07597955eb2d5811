"""The records that a node keeps."""

from __future__ import annotations

from p2pinfer.swarm.kademlia import store as store_module
from p2pinfer.swarm.kademlia.store import MAX_KEYS_PER_PEER, MAX_RECORDS_PER_KEY, RecordStore
from p2pinfer.types import PeerId

ANNA, BERT = PeerId("anna"), PeerId("bert")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_newest_expiry_of_each_peer_wins() -> None:
    store = RecordStore(Clock())

    assert store.put(b"key", ANNA, b"old", 1010)
    assert store.put(b"key", ANNA, b"new", 1020)
    assert not store.put(b"key", ANNA, b"old", 1010)
    assert store.put(b"key", BERT, b"other", 1005)
    assert sorted(store.get(b"key")) == [b"new", b"other"]


def test_the_same_record_again_is_welcome_but_another_with_its_expiry_isnt() -> None:
    store = RecordStore(Clock())

    assert store.put(b"key", ANNA, b"one", 1010)
    assert store.put(b"key", ANNA, b"one", 1010)
    assert not store.put(b"key", ANNA, b"two", 1010)


def test_records_vanish_when_they_expire_and_not_before() -> None:
    clock = Clock()
    store = RecordStore(clock)
    store.put(b"key", ANNA, b"old", 1010)
    store.put(b"key", ANNA, b"new", 1020)

    clock.now = 1015
    assert store.get(b"key") == [b"new"]
    clock.now = 1020
    assert store.get(b"key") == []
    assert len(store) == 0
    assert not store.put(b"key", ANNA, b"late", 1019)


def test_one_peer_has_few_keys() -> None:
    store = RecordStore(Clock())

    kept = [store.put(b"%d" % number, ANNA, b"x", 1010) for number in range(MAX_KEYS_PER_PEER + 1)]

    assert kept == [True] * MAX_KEYS_PER_PEER + [False]
    assert store.put(b"0", ANNA, b"y", 1011)  # what it has, it may renew


def test_a_key_has_room_for_so_many_peers() -> None:
    clock = Clock()
    store = RecordStore(clock)
    for number in range(MAX_RECORDS_PER_KEY):
        assert store.put(b"key", PeerId(str(number)), b"x", 1010)

    assert not store.put(b"key", ANNA, b"x", 1010)
    clock.now = 1011
    assert store.put(b"key", ANNA, b"x", 1020)


def test_the_store_as_a_whole_is_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(store_module, "MAX_RECORDS", 2)
    store = RecordStore(Clock())

    assert [store.put(key, PeerId(str(key)), b"x", 1010) for key in (b"a", b"b", b"c")] == [True, True, False]


def test_a_new_store_takes_over_what_an_old_one_keeps() -> None:
    old, new = RecordStore(Clock()), RecordStore(Clock())
    old.put(b"key", ANNA, b"older", 1010)
    old.put(b"key", PeerId("other"), b"y", 1010)
    new.put(b"key", ANNA, b"newer", 1020)

    new.take_over(old)

    assert sorted(new.get(b"key")) == [b"newer", b"y"]
