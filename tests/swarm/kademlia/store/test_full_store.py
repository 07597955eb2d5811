"""Who stays in a store where all places are taken, by records of whatever keys."""

from __future__ import annotations

import pytest

from p2pinfer.swarm.kademlia import store as store_module
from p2pinfer.swarm.kademlia.ranks import SILENT_SECONDS, rank
from p2pinfer.swarm.kademlia.store import FULL_STORE, RecordStore
from tests.swarm.kademlia.store.keeping import Clock, identities, peers_under, put, record, refresh, settled


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> RecordStore:
    """A store with 64 places."""
    monkeypatch.setattr(store_module, "MAX_RECORDS", 64)
    return RecordStore(clock)


def take(store: RecordStore, peer: str, keys: int, *, source: str = "") -> int:
    """An identity tries to have so many keys; returns how many it got."""
    return sum(
        not put(store, peer, key=f"{peer} {number}".encode(), expires_at=1300, source=source).refusal
        for number in range(keys)
    )


def test_a_store_full_of_small_keys_takes_newcomers(small: RecordStore) -> None:
    """Identities with many keys of their own give way, down to the share of everybody."""
    for number in range(4):
        take(small, f"hostile{number}", 24)
    assert len(small) == 64

    for number in range(8):
        assert take(small, f"honest{number}", 2) == 2
    assert len(small) == 64
    assert sum(count for peer, count in identities(small).items() if peer.startswith("hostile")) == 48


def test_an_identity_gets_no_more_of_a_full_store_than_others_have(small: RecordStore) -> None:
    for number in range(40):
        take(small, f"early{number}", 2)

    assert take(small, "greedy", 24) <= 2
    answer = put(small, "greedy", key=b"another", expires_at=1300)
    assert answer.refusal == FULL_STORE
    assert answer.is_full


def test_where_all_have_the_same_the_rank_decides_and_not_who_came_first(small: RecordStore) -> None:
    for number in range(64):
        take(small, f"early{number}", 1)

    kept = sum(take(small, f"late{number}", 1) for number in range(64))

    assert 8 < kept < 64
    assert len(small) == 64


def test_no_choice_of_a_tree_buys_a_place_in_a_full_store(small: RecordStore, clock: Clock) -> None:
    """A signer can invent trees until its rank in one is good: that costs nothing."""
    for number in range(1000):
        take(small, f"early{number}", 1)
    worst = max((f"early{number}" for number in range(1000)), key=lambda peer: ranked(clock, peer, ""))
    trees = sorted((f"tree{number}" for number in range(1000)), key=lambda tree: ranked(clock, worst, tree))

    answer = small.put(b"another", record(worst, expires_at=1300, tree=trees[0]))

    assert answer.refusal == FULL_STORE


def ranked(clock: Clock, peer: str, tree: str) -> float:
    return rank(record(peer, expires_at=0.0), clock.now, tree=tree)


def test_a_network_has_no_more_than_its_share_of_a_full_store(small: RecordStore) -> None:
    """However few keys each of its identities has, and though it was there first."""
    for number in range(64):
        take(small, f"hostile{number}", 1, source="203.0.113.0/24")

    for number in range(16):
        assert take(small, f"honest{number}", 3) == 3
    assert sum(held.source is not None for held in small._by_refresh) == 16


def test_the_eldest_of_a_network_stay_when_strangers_crowd_into_it(small: RecordStore) -> None:
    for number in range(16):
        take(small, f"old{number}", 1, source="100.64.0.0/24")
    for number in range(48):
        take(small, f"other{number}", 1)

    for number in range(100):
        take(small, f"hostile{number}", 1, source="100.64.0.0/24")

    assert {f"old{number}" for number in range(16)} <= set(identities(small))
    assert not any(peer.startswith("hostile") for peer in identities(small))


def test_no_flood_of_other_keys_displaces_the_elders_of_a_store(small: RecordStore, clock: Clock) -> None:
    """They are many here, with more keys than each of the flood: still they stay."""
    elders, keys = {f"old{number}" for number in range(8)}, (b"a", b"b", b"c", b"d")
    for key in keys:
        refresh(small, clock, elders, key)

    for number in range(1000):
        take(small, f"flood{number}", 1)

    assert all(elders <= peers_under(small, key) for key in keys)


def test_an_elder_that_slept_returns_to_a_full_store(small: RecordStore, clock: Clock) -> None:
    settled(small, clock, 8)
    clock.now += 70
    elders = settled(small, clock, 8)
    clock.now += SILENT_SECONDS + 1
    refresh(small, clock, elders - {"old0"})
    for number in range(64):
        put(small, f"flood{number}", key=b"%d" % number, expires_at=clock.now + 300)
    assert "old0" not in peers_under(small)

    clock.now += 40
    refresh(small, clock, elders)
    assert elders <= peers_under(small)
