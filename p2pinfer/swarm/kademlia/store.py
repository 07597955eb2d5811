"""The records that this node keeps for the swarm. All numbers are bounded, and the latest expiry wins.

It replaces hivemind's storage, which has no bounds, and where storing an older record makes the live one
vanish early. A record stays until it expires, and so does a tombstone, so that an older record never returns.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable

from p2pinfer.types import PeerId

MAX_RECORDS_PER_KEY = 768  # times 4 KB stays below the 4 MiB that one answer may have
MAX_KEYS_PER_PEER = 8
MAX_RECORDS = 16_384  # times 4 KB is 64 MiB


class RecordStore:
    """DHT key -> peer -> the peer's newest record. The caller has verified what it puts in."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._records: dict[bytes, dict[PeerId, tuple[float, bytes]]] = {}
        self._expiries: list[
            tuple[float, bytes, PeerId]
        ] = []  # a heap; entries of replaced records stay in it
        self._keys_of_peer: Counter[PeerId] = Counter()

    def __len__(self) -> int:
        return sum(self._keys_of_peer.values())

    def put(self, key: bytes, peer_id: PeerId, record: bytes, expires_at: float) -> bool:
        """Keep `record`. False if a newer record is held, this one has expired, or a bound is reached."""
        now = self._now()
        self._drop_expired(now)
        held = self._records.get(key, {}).get(peer_id)
        if held is not None:
            if held == (expires_at, record):
                return True  # the same record again: the sender didn't get the first answer
            if expires_at <= held[0]:
                return False
        elif (
            len(self) >= MAX_RECORDS
            or len(self._records.get(key, ())) >= MAX_RECORDS_PER_KEY
            or self._keys_of_peer[peer_id] >= MAX_KEYS_PER_PEER
        ):
            return False
        if expires_at <= now:
            return False
        if held is None:
            self._keys_of_peer[peer_id] += 1
        self._records.setdefault(key, {})[peer_id] = (expires_at, record)
        heapq.heappush(self._expiries, (expires_at, key, peer_id))
        return True

    def get(self, key: bytes) -> list[bytes]:
        """The live records under `key`."""
        self._drop_expired(self._now())
        return [record for _, record in self._records.get(key, {}).values()]

    def take_over(self, other: RecordStore) -> None:
        """Put all records of `other` into this store, by the rules of `put`."""
        for key, records in other._records.items():
            for peer_id, (expires_at, record) in records.items():
                self.put(key, peer_id, record, expires_at)

    def _drop_expired(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            expires_at, key, peer_id = heapq.heappop(self._expiries)
            held = self._records.get(key, {}).get(peer_id)
            if held is None or held[0] != expires_at:
                continue  # the record was replaced since
            del self._records[key][peer_id]
            if not self._records[key]:
                del self._records[key]
            self._keys_of_peer[peer_id] -= 1
            if not self._keys_of_peer[peer_id]:
                del self._keys_of_peer[peer_id]
