"""The records that this node keeps for the swarm. All numbers are bounded, and the latest expiry wins.

It replaces hivemind's storage, which has no bounds, and where storing an older record makes the live one
vanish early. A record, or a tombstone, stays until it expires, or until it gives way in a full store:
ranks.py says who does. The protocol's validator remembers newer records, so that an older one never returns.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.kademlia.ranks import NETWORK_SHARE, SILENT_SECONDS, first_to_go
from p2pinfer.types import PeerId

MAX_RECORDS_PER_KEY = 768  # times 4 KB stays below the 4 MiB that one answer may have
MAX_KEYS_PER_PEER = 8
MAX_RECORDS = 16_384  # times 4 KB is 64 MiB
ELDERS_OF_A_SMALL_KEY = 8  # however many other keys there are, a key's oldest records aren't displaced
LAPSED_SECONDS = 600.0  # who returns within these keeps its age
# Only who stayed this long is remembered: a flood of short stays can't push others out of the memory.
REMEMBERED_STAY_SECONDS = 120.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Held:
    """A record and how it came to its place. Its entry in the heap goes to the one that displaces it."""

    key: bytes
    peer_id: PeerId
    record: bytes
    expires_at: float
    source: Source | None
    since: float
    arrival: int
    refreshed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a keeper answers to the owner of a record."""

    refusal: str  # for people; empty: it is kept
    is_full: bool  # refused because there is no place for it
    records: int  # live records of other peers under the key


def refused(reason: str) -> Stored:
    """A record that isn't kept, wherever it would have to be."""
    return Stored(refusal=reason, is_full=False, records=0)


class RecordStore:
    """DHT key -> peer -> the peer's newest record. The caller has verified what it puts in."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._records: dict[bytes, dict[PeerId, _Held]] = {}
        # A heap with one entry for each place, due at the latest when its record expires, or that of the
        # record which was there before; `get` leaves out what has expired meanwhile.
        self._expiries: list[tuple[float, int, _Held]] = []
        self._keys_of_peer: Counter[PeerId] = Counter()
        self._keys_of_size: dict[int, dict[bytes, None]] = {}
        self._lapsed: OrderedDict[tuple[bytes, PeerId], tuple[float, float]] = OrderedDict()  # since, until
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._expiries)

    def put(
        self, key: bytes, peer_id: PeerId, record: bytes, expires_at: float, source: Source | None = None
    ) -> bool:
        """Keep `record`. False if a newer one is held, it has expired, or it is the one that gives way.

        `source` is the network of the peer; None if it isn't known, then no network's share bounds it.
        """
        now = self._now()
        self._drop_expired(now)
        held = self._records.get(key, {}).get(peer_id)
        if held is not None:
            if (held.expires_at, held.record) == (expires_at, record):
                return expires_at > now  # the sender didn't get the first answer
            if expires_at <= max(held.expires_at, now):
                return False
            held.record, held.expires_at, held.refreshed_at = record, expires_at, now
            held.source = source or held.source
            return True
        if expires_at <= now or self._keys_of_peer[peer_id] >= MAX_KEYS_PER_PEER:
            return False
        since, until = self._lapsed.get((key, peer_id), (now, now))
        self._arrivals += 1
        newcomer = _Held(
            key=key, peer_id=peer_id, record=record, expires_at=expires_at, source=source,
            since=since if now < until else now, arrival=self._arrivals, refreshed_at=now,
        )  # fmt: skip
        return self._find_place(newcomer, now)

    def get(self, key: bytes) -> list[bytes]:
        """The live records under `key`."""
        now = self._now()
        self._drop_expired(now)
        return [held.record for held in self._records.get(key, {}).values() if held.expires_at > now]

    def take_over(self, other: RecordStore) -> None:
        """Put all records of `other` into this store, by the rules of `put`. They keep their age."""
        for key, records in other._records.items():
            for peer_id, old in records.items():
                self.put(key, peer_id, old.record, old.expires_at, old.source)
                held = self._records.get(key, {}).get(peer_id)
                if held is not None:
                    held.since = min(held.since, old.since)

    def _find_place(self, newcomer: _Held, now: float) -> bool:
        leaver = self._leaver(newcomer, now)
        if leaver is newcomer:
            return False
        if leaver is None:
            heapq.heappush(self._expiries, (newcomer.expires_at, newcomer.arrival, newcomer))
            self._add(newcomer)
            return True
        self._remove(leaver)
        if leaver.refreshed_at < now - SILENT_SECONDS:
            self._remember(leaver, now)
        for field in _Held.__slots__:  # the leaver's entry in the heap is the newcomer's now
            setattr(leaver, field, getattr(newcomer, field))
        self._add(leaver)
        return True

    def _leaver(self, newcomer: _Held, now: float) -> _Held | None:
        """Who gives way to a newcomer, perhaps itself; None if there is room."""
        beside = self._records.get(newcomer.key, {})
        key_is_full = len(beside) >= MAX_RECORDS_PER_KEY
        if not key_is_full and len(self) < MAX_RECORDS:
            return None
        elders = MAX_RECORDS_PER_KEY // 2
        if not key_is_full:
            size = max(self._keys_of_size)
            if len(beside) + 1 < size:
                beside = self._records[next(iter(self._keys_of_size[size]))]
            elders = max(ELDERS_OF_A_SMALL_KEY, (len(beside) + 1) // 2)
        leaver = first_to_go(
            [*beside.values(), newcomer],
            elders=elders,
            most_of_network=int(MAX_RECORDS_PER_KEY * NETWORK_SHARE),
            now=now,
        )
        assert isinstance(leaver, _Held)
        return leaver

    def _add(self, held: _Held) -> None:
        self._lapsed.pop((held.key, held.peer_id), None)
        records = self._records.setdefault(held.key, {})
        records[held.peer_id] = held
        self._keys_of_peer[held.peer_id] += 1
        self._resize(held.key, len(records) - 1, len(records))

    def _remove(self, held: _Held) -> None:
        records = self._records[held.key]
        del records[held.peer_id]
        self._resize(held.key, len(records) + 1, len(records))
        if not records:
            del self._records[held.key]
        self._keys_of_peer[held.peer_id] -= 1
        if not self._keys_of_peer[held.peer_id]:
            del self._keys_of_peer[held.peer_id]

    def _resize(self, key: bytes, before: int, after: int) -> None:
        if before:
            del self._keys_of_size[before][key]
            if not self._keys_of_size[before]:
                del self._keys_of_size[before]
        if after:
            self._keys_of_size.setdefault(after, {})[key] = None

    def _remember(self, held: _Held, now: float) -> None:
        left_at = min(now, held.expires_at)
        if left_at - held.since >= REMEMBERED_STAY_SECONDS:
            self._lapsed[held.key, held.peer_id] = (held.since, left_at + LAPSED_SECONDS)
            self._lapsed.move_to_end((held.key, held.peer_id))
            if len(self._lapsed) > MAX_RECORDS:
                self._lapsed.popitem(last=False)

    def _drop_expired(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, _, held = self._expiries[0]
            if held.expires_at > now:  # it was refreshed, or has displaced another, since
                heapq.heapreplace(self._expiries, (held.expires_at, held.arrival, held))
                continue
            heapq.heappop(self._expiries)
            self._remove(held)
            self._remember(held, now)
