"""What one member tells the other of the records it holds, and what is news to the other. Pure.

A mark is 12 bytes: 6 of a hash of the peer id with the question's salt, so that nobody can make an identity
whose mark is another's; 2 that change with what matters in the record; 4 of its expiry, in units of 0.1 ms.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from p2pinfer.backoff import Chance
from p2pinfer.swarm.gossip.table import Entry
from p2pinfer.types import PeerId

SALT_BYTES = 8
SOON_SECONDS = 20.0
"""A record that expires so soon is replaced by one that lives longer, though nothing else is new in it. Else
each would be passed on four times in its life: so often a server announces itself."""
GAIN_SECONDS = 10.0
"""By so much longer."""

_MARK = struct.Struct(">6sHI")
MARK_BYTES = _MARK.size
_TICKS = 10_000  # a second; a record replaces another if it expires a millisecond later
_SPAN = 1 << 32


@dataclass(frozen=True, slots=True)
class Mark:
    """What is told of a record."""

    content: int
    expires_at: float


def marks_of(entries: Iterable[Entry], salt: bytes) -> bytes:
    """The marks of these records, in their order."""
    return b"".join(
        _MARK.pack(
            _name(entry.record.peer_id, salt),
            entry.content,
            round(entry.record.expires_at * _TICKS) % _SPAN,
        )
        for entry in entries
    )


def read_marks(marks: bytes, now: float) -> dict[bytes, Mark]:
    """By the hash of the peer id, in their order. Raises ValueError for bytes that aren't marks.

    An expiry is told as the nearest to `now` of those that are possible.
    """
    if len(marks) % MARK_BYTES:
        raise ValueError(f"a mark has {MARK_BYTES} bytes")
    return {name: Mark(content, _near(ticks, now)) for name, content, ticks in _MARK.iter_unpack(marks)}


def news_for(
    other: dict[bytes, Mark], salt: bytes, entries: Iterable[Entry], now: float, chance: Chance
) -> list[Entry]:
    """Those of our records that the other lacks: what has changed first, then what it doesn't know at all.

    Otherwise by lot: where there isn't room for all, different members tell it different ones.
    """
    news: list[tuple[int, float, Entry]] = []
    for entry in entries:
        theirs = other.get(_name(entry.record.peer_id, salt))
        if is_news(_mark(entry), theirs, now):
            kind = 1 if theirs is None else 0 if theirs.content != entry.content else 2
            news.append((kind, chance(), entry))
    return [entry for *_, entry in sorted(news, key=lambda one: one[:2])]


def wanted_of(other: dict[bytes, Mark], salt: bytes, entries: Iterable[Entry], now: float) -> list[int]:
    """The numbers of the other's marks that are news to us."""
    ours = {_name(entry.record.peer_id, salt): _mark(entry) for entry in entries}
    return [number for number, (name, mark) in enumerate(other.items()) if is_news(mark, ours.get(name), now)]


def number_of(peer_id: PeerId, other: dict[bytes, Mark], salt: bytes) -> int | None:
    """The number of a peer's mark; None if there is none."""
    name = _name(peer_id, salt)
    return next((number for number, one in enumerate(other) if one == name), None)


def is_news(new: Mark, held: Mark | None, now: float) -> bool:
    """True if one who has the record `held`, or none of this peer, should get the `new` one."""
    if held is None:
        return new.expires_at > now
    if new.content != held.content:
        return new.expires_at > held.expires_at
    return held.expires_at < now + SOON_SECONDS and new.expires_at >= held.expires_at + GAIN_SECONDS


def _name(peer_id: PeerId, salt: bytes) -> bytes:
    return hashlib.sha256(salt + peer_id.encode()).digest()[:6]


def _mark(entry: Entry) -> Mark:
    return Mark(entry.content, round(entry.record.expires_at * _TICKS) / _TICKS)


def _near(ticks: int, now: float) -> float:
    base = round(now * _TICKS)
    ahead = (ticks - base) % _SPAN
    return (base + ahead - (_SPAN if ahead >= _SPAN // 2 else 0)) / _TICKS
