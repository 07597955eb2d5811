"""What tests of the store need: a clock that stands still, and records that nobody has signed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.kademlia.store import RecordStore, Stored
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.types import PeerId

KEY = b"key"


class Clock:
    """It shows 1000 s until a test sets it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def record(peer: str, *, data: bytes = b"x", expires_at: float, tree: str = "model") -> Record:
    """A record of `peer`, whose proof is drawn from its name."""
    return Record(
        peer_id=PeerId(peer),
        data=data,
        expires_at=expires_at,
        tree=tree,
        place=peer,
        proof=peer.encode()[-8:],
    )


def put(
    store: RecordStore,
    peer: str,
    *,
    expires_at: float,
    key: bytes = KEY,
    data: bytes = b"x",
    source: str = "",
) -> Stored:
    """Put a record of `peer` into a store."""
    return store.put(key, record(peer, data=data, expires_at=expires_at), Source(source) if source else None)


def peers_under(store: RecordStore, key: bytes = KEY) -> set[str]:
    """Who has a place under a key."""
    return set(store._records.get(key, {}))


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


def identities(store: RecordStore) -> Counter[str]:
    """How many places each has."""
    return Counter(held.record.peer_id for held in store._by_refresh)
