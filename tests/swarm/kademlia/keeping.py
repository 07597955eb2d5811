"""What tests of the store need: a clock that stands still, and records that nobody has signed."""

from __future__ import annotations

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
