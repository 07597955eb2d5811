"""The records of the members near us: of our cell, and of the one above it. Pure: they come verified.

The newest record of a peer wins, and a tombstone is a record. In a full table those stay who have been known
longest, half of all; of the others those go first that are farther from our place, then those of the worst
rank. A crowd that has paid can't push out whom we knew before it came.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from p2pinfer.swarm.cells import ranks
from p2pinfer.swarm.cells.place import cell_of
from p2pinfer.swarm.kademlia.validator import LONGEST_SECONDS, Record, may_be_under
from p2pinfer.swarm.records.announcement import ServerState, decode
from p2pinfer.types import PeerId

MOST_RECORDS = 256
MOST_BYTES = 512 * 1024
LAPSED_SECONDS = 600.0
"""Who is back within these is as well known as before."""
REMEMBERED_STAY_SECONDS = 120.0
"""Who was there for a shorter time isn't remembered: short stays don't push out the memory of long ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Whose records a member remembers."""

    tree: str
    place: str
    home: int  # the depth of our cell

    @property
    def cell(self) -> str:
        """The cell above ours; a small swarm's only one."""
        return cell_of(self.place, max(0, self.home - 1))

    def has(self, record: Record) -> bool:
        """True if the record is of a member near us."""
        return record.tree == self.tree and record.place.startswith(self.cell)

    def nearness(self, record: Record) -> int:
        """How many digits of its place are ours, as far as our own cell: there all are equally near."""
        shared = 0
        while shared < self.home and record.place[shared] == self.place[shared]:
            shared += 1
        return shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record in the table."""

    record: Record
    since: float  # when its signer was heard of first
    content: int  # 16 bits that change when a reader has to know at once
    has_left: bool
    maddrs: tuple[str, ...]  # where others have dialled it


class Table:
    """Of one member. `now` is in Unix seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._entries: dict[PeerId, Entry] = {}
        self._bytes = 0
        self._lapsed: OrderedDict[PeerId, tuple[float, float]] = OrderedDict()  # since, until
        self.area: Area | None = None
        self._own: Entry | None = None

    def announce(self, own: Record, home: int) -> None:
        """Take our own record: it says whose records belong here. The others are forgotten.

        One that was overtaken on its way, by a newer one or by our tombstone, isn't taken.
        """
        held = None if self._own is None or self._own.record.tree != own.tree else self._own.record
        if held is not None and own.expires_at < held.expires_at <= self._now() + LONGEST_SECONDS:
            return
        self.area = Area(tree=own.tree, place=own.place, home=home)
        self._own = entry_of(own, float("-inf"))
        for entry in [*self._entries.values()]:
            if not self.area.has(entry.record):
                self._remove(entry)
        self._forget(own.peer_id)

    def take(self, records: Iterable[Record]) -> None:
        """Remember those that belong here and are newer than what we have; our own we know best."""
        now = self._now()
        self._drop_expired(now)
        for record in records:
            if self.area is None or record.tree != self.area.tree or record.expires_at <= now:
                continue
            held = self._entries.get(record.peer_id)
            if held is not None and held.record.expires_at >= record.expires_at:
                continue
            if not self.area.has(record):  # it has moved away
                self._forget(record.peer_id)
            elif self._own is None or record.peer_id != self._own.record.peer_id:
                self._add(record, now)

    def entries(self) -> list[Entry]:
        """What is known of others, live, those known longest first."""
        self._drop_expired(self._now())
        return sorted(self._entries.values(), key=lambda entry: entry.since)

    def all(self) -> list[Entry]:
        """`entries`, and ours."""
        return self.entries() if self.own is None else [*self.entries(), self.own]

    def entry(self, peer_id: PeerId) -> Entry | None:
        """What is known of one of them."""
        self._drop_expired(self._now())
        return self._entries.get(peer_id)

    @property
    def own(self) -> Entry | None:
        """Our own record, while it is alive."""
        return self._own if self._own is not None and self._own.record.expires_at > self._now() else None

    def under(self, key: bytes) -> list[Record]:
        """The records that belong under a key of the DHT, ours with them."""
        return [entry.record for entry in self.all() if may_be_under(key, entry.record)]

    def _add(self, record: Record, now: float) -> None:
        held = self._entries.get(record.peer_id)
        since, until = self._lapsed.pop(record.peer_id, (now, 0.0))
        if held is not None:  # in its old place: of those heard of together the order stays
            since = held.since
            self._bytes -= len(held.record.data)
        elif until < now:
            since = now
        self._entries[record.peer_id] = entry_of(record, since)
        self._bytes += len(record.data)
        while len(self._entries) > MOST_RECORDS or self._bytes > MOST_BYTES:
            self._remove(self._first_to_go(now))

    def _first_to_go(self, now: float) -> Entry:
        area = self.area
        assert area is not None
        by_age = sorted(self._entries.values(), key=lambda entry: entry.since)

        def badness(entry: Entry) -> tuple[int, float]:
            record = entry.record
            epoch = ranks.epoch_at(record.peer_id, now)
            return -area.nearness(record), ranks.rank(record.peer_id, record.proof, record.tree, epoch)

        return max(by_age[len(by_age) // 2 :], key=badness)

    def _drop_expired(self, now: float) -> None:
        for entry in [entry for entry in self._entries.values() if entry.record.expires_at <= now]:
            self._remove(entry)

    def _remove(self, entry: Entry) -> None:
        """Take one out, and remember for a while how long it was known."""
        peer_id, now = entry.record.peer_id, self._now()
        self._forget(peer_id)
        left_at = min(now, entry.record.expires_at)
        if left_at - entry.since >= REMEMBERED_STAY_SECONDS:
            self._lapsed[peer_id] = (entry.since, left_at + LAPSED_SECONDS)
            if len(self._lapsed) > MOST_RECORDS:
                self._lapsed.popitem(last=False)

    def _forget(self, peer_id: PeerId) -> None:
        if (entry := self._entries.pop(peer_id, None)) is not None:
            self._bytes -= len(entry.record.data)


def entry_of(record: Record, since: float) -> Entry:
    """A record and what is asked of it again and again. What changes `content` is passed on at once."""
    said = decode(record.data)
    matters = (said.state, said.layers, said.moves_to, said.is_undecided, said.address)
    return Entry(
        record=record,
        since=since,
        content=int.from_bytes(hashlib.sha256(repr(matters).encode()).digest()[:2], "big"),
        has_left=said.state is ServerState.LEFT,
        maddrs=said.maddrs,
    )
