"""Who stays where a node keeps as many records as it can: under one key, and in all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pinfer.swarm.kademlia import store as store_module
from p2pinfer.swarm.kademlia.ranks import SILENT_SECONDS, rank
from p2pinfer.swarm.kademlia.store import (
    FULL_KEY,
    FULL_STORE,
    MAX_RECORDS_PER_KEY,
    OLDER,
    RecordStore,
)
from tests.swarm.kademlia.keeping import KEY, Clock, peers_under, put, record

HALF, SHARE = MAX_RECORDS_PER_KEY // 2, MAX_RECORDS_PER_KEY // 4


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> RecordStore:
    return RecordStore(clock)


def flood(store: RecordStore, clock: Clock, count: int, *, name: str = "flood", source: str = "") -> int:
    """So many fresh identities come to the key; returns how many got a place."""
    return sum(
        not put(store, f"{name}{number}", expires_at=clock.now + 300, source=source).refusal
        for number in range(count)
    )


def refresh(store: RecordStore, clock: Clock, peers: Iterable[str], key: bytes = KEY) -> None:
    """Each of `peers` has its place, or gets one."""
    for peer in peers:
        assert put(store, peer, expires_at=clock.now + 600, key=key).refusal == ""


def settled(store: RecordStore, clock: Clock, count: int, key: bytes = KEY) -> set[str]:
    """So many honest servers that have been there for a minute."""
    peers = {f"old{number}" for number in range(count)}
    refresh(store, clock, peers, key)
    clock.now += 60
    refresh(store, clock, peers, key)
    return peers


def by_rank(clock: Clock, peers: Iterable[str]) -> list[str]:
    return sorted(peers, key=lambda peer: rank(record(peer, expires_at=0.0), clock.now))


def test_a_full_key_says_that_it_is_full(store: RecordStore, clock: Clock) -> None:
    flood(store, clock, 5 * MAX_RECORDS_PER_KEY)

    answers = [put(store, f"late{number}", expires_at=1300) for number in range(100)]

    assert {answer.is_full for answer in answers if answer.refusal == FULL_KEY} == {True}
    assert sum(answer.refusal == FULL_KEY for answer in answers) > 50
    # One that is kept has displaced another.
    assert {answer.records + (answer.refusal == "") for answer in answers} == {MAX_RECORDS_PER_KEY}
    assert len(store) == len(store.get(KEY)) == MAX_RECORDS_PER_KEY


def test_half_of_a_key_is_its_elders_and_the_other_half_those_of_the_best_rank(
    store: RecordStore, clock: Clock
) -> None:
    """However many come, and in whatever order."""
    elders = settled(store, clock, HALF)
    crowd = {f"flood{number}" for number in range(1000)}

    flood(store, clock, len(crowd))

    assert peers_under(store) == elders | set(by_rank(clock, crowd)[:HALF])


def test_whoever_has_the_best_rank_gets_in_whenever_it_comes(store: RecordStore, clock: Clock) -> None:
    crowd = [f"flood{number}" for number in range(1000)]
    best, worst = by_rank(clock, crowd)[0], by_rank(clock, crowd)[-1]
    for peer in set(crowd) - {best, worst}:
        put(store, peer, expires_at=1300)

    assert put(store, best, expires_at=1300).refusal == ""
    assert put(store, worst, expires_at=1300).refusal == FULL_KEY


def test_a_network_has_no_more_than_its_share_when_others_wait(store: RecordStore, clock: Clock) -> None:
    assert flood(store, clock, MAX_RECORDS_PER_KEY, source="10.0.0.0/24") == MAX_RECORDS_PER_KEY

    assert flood(store, clock, 3 * SHARE, name="other") == 3 * SHARE
    sources = Counter(held.source for held in store._records[KEY].values())
    assert sources["10.0.0.0/24"] == SHARE


def test_elders_stay_when_others_of_their_network_crowd_in(store: RecordStore, clock: Clock) -> None:
    """A carrier's /24 is shared by strangers: they don't push out who was there before them."""
    elders = settled(store, clock, SHARE)
    for peer in elders:
        put(store, peer, expires_at=clock.now + 601, source="100.64.0.0/24")
    flood(store, clock, 1000, name="others")

    flood(store, clock, 1000, source="100.64.0.0/24")

    assert elders <= peers_under(store)


def test_a_silent_record_goes_first_and_one_that_slept_returns_to_its_place(
    store: RecordStore, clock: Clock
) -> None:
    elders = settled(store, clock, 8)
    clock.now += 90
    refresh(store, clock, elders)
    clock.now += SILENT_SECONDS + 1
    refresh(store, clock, elders - {"old0"})
    flood(store, clock, 1000)
    assert "old0" not in peers_under(store)

    clock.now += 44
    refresh(store, clock, elders)
    assert elders <= peers_under(store)


def test_a_tombstone_that_gave_way_is_remembered(store: RecordStore, clock: Clock) -> None:
    """It isn't refreshed, so it is silent soon. What was older than it stays out."""
    settled(store, clock, 1)
    clock.now += 90
    left_at = clock.now + 601
    assert put(store, "old0", data=b"left", expires_at=left_at).refusal == ""
    clock.now += SILENT_SECONDS + 1
    flood(store, clock, 1000)
    assert "old0" not in peers_under(store)

    assert put(store, "old0", data=b"alive", expires_at=left_at - 0.001).refusal == OLDER
    assert put(store, "old0", data=b"back", expires_at=left_at + 1).refusal == ""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> RecordStore:
    """A store with 64 places."""
    monkeypatch.setattr(store_module, "MAX_RECORDS", 64)
    return RecordStore(clock)


def identities(store: RecordStore) -> Counter[str]:
    return Counter(held.record.peer_id for held in store._by_refresh)


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
    """However few keys each of its identities has. Elders, half of the places, aren't touched."""
    for number in range(32):
        take(small, f"old{number}", 1)
    for number in range(64):
        take(small, f"hostile{number}", 1, source="203.0.113.0/24")

    for number in range(8):
        assert take(small, f"honest{number}", 3) == 3
    assert sum(held.source is not None for held in small._by_refresh) == 8
    assert {f"old{number}" for number in range(32)} <= set(identities(small))


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


def seconds_of(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def test_a_put_takes_no_longer_in_a_large_store_than_in_a_small_one(clock: Clock) -> None:
    """160 times the records: within 8 times the time, with what memory and an unquiet machine add."""

    def refreshing(count: int) -> float:
        store = RecordStore(clock)
        for number in range(count):
            put(store, f"peer{number}", key=b"%d" % (number // 50), expires_at=1300)
        peers = range(0, count, max(1, count // 100))

        def act() -> None:
            for times in range(1, 6):
                for number in peers:
                    key = b"%d" % (number // 50)
                    put(store, f"peer{number}", key=key, expires_at=1300 + times + clock.now)

        return min(seconds_of(act) for _ in range(3)) / len(peers)

    assert refreshing(16_000) < 8 * refreshing(100)


def test_a_flood_of_a_full_key_takes_the_same_time_to_its_end(store: RecordStore, clock: Clock) -> None:
    """No memory of those who were there grows with it."""

    def wave(number: int) -> float:
        return seconds_of(lambda: flood(store, clock, 500, name=f"wave {number} "))

    wave(0)
    waves = [wave(number) for number in range(1, 9)]

    assert min(waves[4:]) < 3 * min(waves[:4])
    assert len(store._expiries) == len(store._by_refresh) == MAX_RECORDS_PER_KEY
    assert len(store._lapsed) <= MAX_RECORDS_PER_KEY


class RandomStore(RuleBasedStateMachine):
    """A few identities of three networks put, renew and lose records under four keys of eight places."""

    PER_KEY, IN_ALL, PER_PEER = 8, 18, 3

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(store_module, "MAX_RECORDS", self.IN_ALL)
        self.patch.setattr(store_module, "MAX_RECORDS_PER_KEY", self.PER_KEY)
        self.patch.setattr(store_module, "MAX_KEYS_PER_PEER", self.PER_PEER)
        self.clock = Clock()
        self.store = RecordStore(self.clock)

    def teardown(self) -> None:
        self.patch.undo()

    @rule(
        key=st.sampled_from([b"a", b"b", b"c", b"d"]),
        peer=st.integers(0, 19).map("peer{}".format),
        lifetime=st.integers(-5, 90),
        source=st.sampled_from(["", "x", "y"]),
    )
    def store_one(self, key: bytes, peer: str, lifetime: int, source: str) -> None:
        before, elders = self.live(), self.elders(key)
        of_key = sum(name == key and other != peer for name, other in before)
        answer = put(self.store, peer, key=key, expires_at=self.clock.now + lifetime, source=source)
        after = self.live()

        assert answer.records >= of_key - (answer.refusal == "")
        assert ((key, peer) in after) or answer.refusal
        gone = before - after
        assert len(gone) <= (answer.refusal == "" and (key, peer) not in before)
        assert not gone & elders

    @rule(seconds=st.integers(1, 50))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def start_p2pd_again(self) -> None:
        """The new store has the same records, and each is as old as it was."""
        old = self.store
        self.store = RecordStore(self.clock)
        self.store.take_over(old)
        assert self.ages(self.store) == self.ages(old)

    def live(self) -> set[tuple[bytes, str]]:
        return {
            (held.key, str(held.record.peer_id))
            for held in self.store._by_refresh
            if held.record.expires_at > self.clock.now
        }

    def ages(self, store: RecordStore) -> set[tuple[bytes, str, float]]:
        return {
            (held.key, str(held.record.peer_id), held.since)
            for held in store._by_refresh
            if held.record.expires_at > self.clock.now
        }

    def elders(self, key: bytes) -> set[tuple[bytes, str]]:
        """Those that don't give way to a record under a key, even if it comes back and is older than they."""
        by_age = sorted(self.store._by_refresh, key=lambda held: held.age)
        beside = [held for held in by_age if held.key == key]
        if len(beside) < self.PER_KEY:
            stay = by_age[: self.IN_ALL // 2 - 1]
        else:
            places = [[one for one in beside if one.source == held.source].index(held) for held in beside]
            stay = [
                held
                for held, place in list(zip(beside, places, strict=True))[: self.PER_KEY // 2 - 1]
                if held.source is None or place < self.PER_KEY // 4 - 1
            ]
        return {(held.key, str(held.record.peer_id)) for held in stay if not held.is_silent(self.clock.now)}

    @invariant()
    def all_numbers_are_bounded(self) -> None:
        held = list(self.store._by_refresh)
        assert len(held) == len(self.store) == len(self.store._expiries) <= self.IN_ALL
        assert max(Counter(one.key for one in held).values(), default=0) <= self.PER_KEY
        assert max(identities(self.store).values(), default=0) <= self.PER_PEER
        assert len(self.store._lapsed) <= self.IN_ALL

    @invariant()
    def the_shares_are_those_of_the_young(self) -> None:
        by_age = sorted(self.store._by_refresh, key=lambda held: held.age)
        young = by_age[self.IN_ALL // 2 :]
        shares = self.store._shares
        assert shares._by_age == by_age
        peers = Counter(held.record.peer_id for held in young)
        assert {peer: shares._by_peer.size(peer) for peer in peers} == peers
        assert shares._by_peer.largest == max(peers.values(), default=0)
        networks = Counter(held.source for held in young if held.source is not None)
        assert {source: len(crowd) for source, crowd in shares._by_network._of.items()} == networks


RandomStore.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRandomStore = RandomStore.TestCase
