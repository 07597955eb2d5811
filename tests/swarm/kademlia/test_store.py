"""The records that a node keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.fairness.sources import Source
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

    store.put(b"key", ANNA, b"x", 1010)
    assert len(store) == len(store.get(b"key")) == MAX_RECORDS_PER_KEY
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


def flood(store: RecordStore, clock: Clock, *, count: int, name: str = "flood", source: str = "") -> int:
    """So many fresh identities come; returns how many got a place."""
    return sum(
        store.put(b"key", PeerId(f"{name}{number}"), b"flood", clock.now + 300, Source(source) or None)
        for number in range(count)
    )


def eight_elders(store: RecordStore, clock: Clock) -> list[bytes]:
    names = [f"old{number}" for number in range(8)]
    for name in names:
        assert store.put(b"key", PeerId(name), name.encode(), clock.now + 600)
    return [name.encode() for name in names]


def refresh(store: RecordStore, clock: Clock, names: list[bytes]) -> None:
    for name in names:
        assert store.put(b"key", PeerId(name.decode()), name, clock.now + 600)


def test_a_flood_of_fresh_identities_displaces_none_that_were_there_before() -> None:
    clock = Clock()
    store = RecordStore(clock)
    elders = eight_elders(store, clock)
    clock.now += 20
    refresh(store, clock, elders)

    assert MAX_RECORDS_PER_KEY - 8 < flood(store, clock, count=1000) < 1000

    assert set(elders) <= set(store.get(b"key"))
    assert len(store) == len(store._expiries) == MAX_RECORDS_PER_KEY


def test_a_network_has_no_more_than_its_share_when_others_wait() -> None:
    clock = Clock()
    store = RecordStore(clock)
    assert flood(store, clock, count=MAX_RECORDS_PER_KEY, source="10.0.0.0/24") == MAX_RECORDS_PER_KEY

    assert flood(store, clock, count=MAX_RECORDS_PER_KEY * 3 // 4, name="other") == 576
    held = store._records[b"key"].values()
    assert sum(place.source is not None for place in held) == MAX_RECORDS_PER_KEY // 4


def test_a_silent_record_goes_first_and_one_that_slept_returns_to_its_place() -> None:
    clock = Clock()
    store = RecordStore(clock)
    elders = eight_elders(store, clock)
    clock.now += 200
    refresh(store, clock, elders)
    clock.now += 46
    refresh(store, clock, elders[1:])
    flood(store, clock, count=1000)
    assert elders[0] not in store.get(b"key")

    clock.now += 44
    refresh(store, clock, elders)
    assert set(elders) <= set(store.get(b"key"))


def test_a_flood_of_other_keys_leaves_a_key_its_elders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_RECORDS", 32)
    clock = Clock()
    store = RecordStore(clock)
    elders = eight_elders(store, clock)
    for number in range(300):
        store.put(b"%d" % number, PeerId(f"x{number}"), b"x", clock.now + 300)

    assert set(elders) == set(store.get(b"key"))
    assert len(store) == 32


def test_however_often_records_are_refreshed_the_heap_has_one_entry_for_each() -> None:
    clock = Clock()
    store = RecordStore(clock)
    for _ in range(100):
        clock.now += 17
        store.put(b"key", ANNA, b"x", clock.now + 60)
        assert len(store._expiries) == 1


PUTS = st.tuples(
    st.integers(0, 3), st.integers(0, 12), st.integers(-5, 60), st.integers(0, 20), st.integers(0, 2)
)


@given(st.lists(PUTS, max_size=60))
def test_bounds_hold_and_nothing_with_a_place_vanishes_early(
    puts: list[tuple[int, int, int, int, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "MAX_RECORDS", 10)
        patch.setattr(store_module, "MAX_RECORDS_PER_KEY", 6)
        clock = Clock()
        store = RecordStore(clock)
        for key, peer, lifetime, seconds, source in puts:
            name, peer_id = b"%d" % key, PeerId(str(peer))
            before = {
                (held.key, held.peer_id) for of_key in store._records.values() for held in of_key.values()
                if held.expires_at > clock.now + seconds
            }  # fmt: skip
            clock.now += seconds
            kept = store.put(
                name, peer_id, b"x", clock.now + lifetime, Source(str(source)) if source else None
            )
            after = {
                (held.key, held.peer_id) for of_key in store._records.values() for held in of_key.values()
            }
            assert len(before - after) <= kept  # one gives way, and only to one that is kept
            assert len(store) == len(store._expiries) == len(after) <= 10
            assert all(len(of_key) <= 6 for of_key in store._records.values())
            assert len(store._lapsed) <= 10
