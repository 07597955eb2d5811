"""The records that this node keeps for the swarm. All numbers are bounded, and the latest expiry wins.

It replaces hivemind's storage, which has no bounds, and where storing an older record makes the live one
vanish early. A record, or a tombstone, stays until it expires, or until it gives way: under a full key to
whom ranks.py says, in a full store to whom shares.py says. An older record never returns meanwhile: the
protocol's validator remembers the newer one, and so does this store if it was there for a while.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.cells.climb import CAPACITY
from p2pinfer.swarm.kademlia.ranks import ELDERS_SHARE, NETWORK_SHARE, Held, first_to_go
from p2pinfer.swarm.kademlia.shares import Shares
from p2pinfer.swarm.kademlia.validator import LONGEST_SECONDS, Record
from p2pinfer.types import PeerId

MAX_RECORDS_PER_KEY = CAPACITY
MAX_KEYS_PER_PEER = 40  # a server is announced in several cells, each of which has two keys
MAX_RECORDS = 16_384  # times 4 KB is 64 MiB
LAPSED_SECONDS = 600.0  # who returns within these keeps its age
# Only who stayed this long is remembered: a flood of short stays can't push others out of the memory.
REMEMBERED_STAY_SECONDS = 120.0

EXPIRED = "expired"
OLDER = "a newer record is held"
TOO_MANY_KEYS = f"a peer has {MAX_KEYS_PER_PEER} keys at most"
FULL_KEY = "full: other records stay under this key"
FULL_STORE = "full: this node keeps no more records"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lapsed:
    """A record that had a place, and how long that is remembered."""

    since: float
    until: float
    expires_at: float


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
        self._records: dict[bytes, dict[PeerId, Held]] = {}
        # A heap with one entry for each place, due at the latest when its record expires, or that of the
        # record which was there before; `get` leaves out what has expired meanwhile. The entry of a record
        # goes to the one that displaces it.
        self._expiries: list[tuple[float, int, Held]] = []
        self._by_refresh: OrderedDict[Held, None] = OrderedDict()  # the least recently refreshed first
        self._shares = Shares(MAX_RECORDS)
        self._keys_of_peer: Counter[PeerId] = Counter()
        self._lapsed: OrderedDict[tuple[bytes, PeerId], _Lapsed] = OrderedDict()
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._expiries)

    def put(self, key: bytes, record: Record, source: Source | None = None) -> Stored:
        """Keep `record`, unless a newer one is held, it has expired, or it is the one that gives way.

        `source` is the network of the peer; None if it isn't known, then no network's share bounds it.
        """
        now = self._now()
        self._drop_expired(now)
        refusal = self._refusal(key, record, source, now)
        others = sum(
            held.record.expires_at > now
            for peer_id, held in self._records.get(key, {}).items()
            if peer_id != record.peer_id
        )
        return Stored(refusal=refusal, is_full=refusal in (FULL_KEY, FULL_STORE), records=others)

    def get(self, key: bytes) -> list[bytes]:
        """The live records under `key`, as they were signed."""
        return [record.data for record in self.live(key)]

    def live(self, key: bytes) -> list[Record]:
        """The live records under `key`."""
        now = self._now()
        self._drop_expired(now)
        held_here = self._records.get(key, {}).values()
        return [held.record for held in held_here if held.record.expires_at > now]

    def take_over(self, other: RecordStore) -> None:
        """Put all records of `other` into this store, by the rules of `put`. They keep their age."""
        now = self._now()
        self._drop_expired(now)
        # The oldest first: so none that is displaced was an elder.
        for old in sorted(other._by_refresh, key=lambda held: held.age):
            self._refusal(old.key, old.record, old.source, now, since=old.since)
            held = self._records.get(old.key, {}).get(old.record.peer_id)
            if held is not None and old.since < held.since:
                self._change(held, since=old.since)

    def _refusal(
        self, key: bytes, record: Record, source: Source | None, now: float, since: float | None = None
    ) -> str:
        """Why a record isn't kept; empty: it is, from now on."""
        if record.expires_at <= now:
            return EXPIRED
        held = self._records.get(key, {}).get(record.peer_id)
        if held is not None:
            if record.expires_at > held.record.expires_at or held.record.expires_at > now + LONGEST_SECONDS:
                self._refresh(held, record, source, now)
            elif record != held.record:  # the same again: the sender didn't get the first answer
                return OLDER
            return ""
        lapsed = self._lapsed.get((key, record.peer_id))
        if lapsed is not None and record.expires_at < lapsed.expires_at:
            return OLDER
        if self._keys_of_peer[record.peer_id] >= MAX_KEYS_PER_PEER:
            return TOO_MANY_KEYS
        since = now if since is None else since
        if lapsed is not None and now < lapsed.until:
            since = min(since, lapsed.since)
        self._arrivals += 1
        newcomer = Held(
            key=key, record=record, source=source, since=since, arrival=self._arrivals, refreshed_at=now
        )
        return self._find_place(newcomer, now)

    def _refresh(self, held: Held, record: Record, source: Source | None, now: float) -> None:
        if source is not None and source != held.source:
            self._change(held, source=source)
        held.record, held.refreshed_at = record, now
        self._by_refresh.move_to_end(held)

    def _change(self, held: Held, *, source: Source | None = None, since: float | None = None) -> None:
        self._shares.remove(held)
        held.source = held.source if source is None else source
        held.since = held.since if since is None else since
        self._shares.add(held)

    def _find_place(self, newcomer: Held, now: float) -> str:
        beside = self._records.get(newcomer.key, {})
        if len(beside) >= MAX_RECORDS_PER_KEY:
            leaver, refusal = self._leaver_under(newcomer, now), FULL_KEY
        elif len(self) >= MAX_RECORDS:
            leaver, refusal = self._leaver_of_all(newcomer, now), FULL_STORE
        else:
            heapq.heappush(self._expiries, (newcomer.record.expires_at, newcomer.arrival, newcomer))
            self._add(newcomer)
            return ""
        if leaver is newcomer:
            return refusal
        self._remove(leaver)
        if leaver.is_silent(now):
            self._remember(leaver, now)
        for field in Held.__slots__:  # the leaver's entry in the heap is the newcomer's now
            setattr(leaver, field, getattr(newcomer, field))
        self._add(leaver)
        return ""

    def _leaver_under(self, newcomer: Held, now: float) -> Held:
        return first_to_go(
            [*self._records[newcomer.key].values(), newcomer],
            elders=int(MAX_RECORDS_PER_KEY * ELDERS_SHARE),
            most_of_network=int(MAX_RECORDS_PER_KEY * NETWORK_SHARE),
            now=now,
        )

    def _leaver_of_all(self, newcomer: Held, now: float) -> Held:
        least_recent = next(iter(self._by_refresh))
        if least_recent.is_silent(now):
            return least_recent
        return self._shares.first_to_go(newcomer, lambda key: len(self._records[key]), now)

    def _add(self, held: Held) -> None:
        self._lapsed.pop((held.key, held.record.peer_id), None)
        self._records.setdefault(held.key, {})[held.record.peer_id] = held
        self._keys_of_peer[held.record.peer_id] += 1
        self._by_refresh[held] = None
        self._shares.add(held)

    def _remove(self, held: Held) -> None:
        peer_id = held.record.peer_id
        self._shares.remove(held)
        del self._by_refresh[held]
        del self._records[held.key][peer_id]
        if not self._records[held.key]:
            del self._records[held.key]
        self._keys_of_peer[peer_id] -= 1
        if not self._keys_of_peer[peer_id]:
            del self._keys_of_peer[peer_id]

    def _remember(self, held: Held, now: float) -> None:
        """Of who is silent or has left: its age, and which of its records were older."""
        left_at = min(now, held.record.expires_at)
        if left_at - held.since >= REMEMBERED_STAY_SECONDS:
            name = (held.key, held.record.peer_id)
            self._lapsed[name] = _Lapsed(
                since=held.since, until=left_at + LAPSED_SECONDS, expires_at=held.record.expires_at
            )
            self._lapsed.move_to_end(name)
            if len(self._lapsed) > MAX_RECORDS:
                self._lapsed.popitem(last=False)

    def _drop_expired(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, _, held = self._expiries[0]
            if held.record.expires_at > now:  # it was refreshed, or has displaced another, since
                heapq.heapreplace(self._expiries, (held.record.expires_at, held.arrival, held))
                continue
            heapq.heappop(self._expiries)
            self._remove(held)
            self._remember(held, now)
