"""Stores at random: bounds hold, and whoever must stay stays."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pinfer.swarm.kademlia import store as store_module
from p2pinfer.swarm.kademlia.store import RecordStore
from tests.swarm.kademlia.store.keeping import Clock, identities, put


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
        rivals, places = (by_age, self.IN_ALL) if len(beside) < self.PER_KEY else (beside, self.PER_KEY)
        of_network = Counter[str]()
        stay = []
        for held in rivals[: places // 2 - 1]:
            of_network[held.source or ""] += 1
            if held.source is None or of_network[held.source] < places // 4:
                stay.append(held)
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
        assert {peer: shares._young.size(peer) for peer in peers} == peers
        assert shares._young.largest == max(peers.values(), default=0)
        networks = Counter(held.source for held in by_age if held.source is not None)
        assert {source: len(own) for source, own in shares._networks._by_age.items()} == networks
        assert shares._networks._crowds == {
            source for source, count in networks.items() if count > self.IN_ALL // 4
        }


RandomStore.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRandomStore = RandomStore.TestCase
