"""Which records a node accepts, from a peer that stores one and from a peer that answers a search.

It refuses values that aren't a signed record of the peer in the subkey, values without a subkey, records
over 4 KB, keys over 128 bytes, lifetimes over ten minutes, expired records, and records older than one seen
before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from hivemind.dht.validation import DHTRecord, RecordValidatorBase

from p2pinfer.errors import InvalidRecordError
from p2pinfer.swarm.cells.keys import MODELS, keys_of, peer_key
from p2pinfer.swarm.record_pb2 import RECORD_KIND_LISTING
from p2pinfer.swarm.records.announcement import Announcement, decode
from p2pinfer.swarm.records.listing import ListingEntry, decode_listing
from p2pinfer.swarm.records.signed import MAX_LIFETIME_SECONDS, MAX_RECORD_BYTES, parse_envelope
from p2pinfer.types import PeerId

MAX_DHT_KEY_BYTES = 128
CLOCK_TOLERANCE_SECONDS = 30.0  # clocks differ: a peer's record may seem to live this much too long
LONGEST_SECONDS = MAX_LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS
"""No record expires later from now on. One that does came before our clock was set back."""
_MAX_REMEMBERED = 16_384
_MAX_TREES = 8  # of one peer: an honest one is in two. Whoever signs for thousands forgets only its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A verified record and its signed bytes."""

    peer_id: PeerId
    data: bytes
    expires_at: float
    tree: str  # of cells
    place: str  # in the tree: its cells are those that this lies in
    proof: bytes  # that its signer has paid


def newest(records: Iterable[Record]) -> list[Record]:
    """The record of each peer that expires last."""
    found: dict[PeerId, Record] = {}
    for record in records:
        held = found.get(record.peer_id)
        if held is None or record.expires_at > held.expires_at:
            found[record.peer_id] = record
    return list(found.values())


@lru_cache(maxsize=4096)  # the same record comes from several nodes, and under the keys of several cells
def read_record(value: bytes) -> Record:
    """Read and verify a record. Raises InvalidRecordError; what follows from the clock isn't checked here."""
    if len(value) > MAX_RECORD_BYTES:
        raise InvalidRecordError(f"a record has at most {MAX_RECORD_BYTES} bytes")
    envelope, _ = parse_envelope(value)
    signed: Announcement | ListingEntry
    if envelope.kind == RECORD_KIND_LISTING:
        signed, tree = decode_listing(value), MODELS
    else:
        signed = decode(value)
        tree = signed.model
    return Record(
        peer_id=signed.peer_id,
        data=value,
        expires_at=signed.expires_at,
        tree=tree,
        place=signed.place,
        proof=envelope.proof,
    )


def may_be_under(key: bytes, record: Record) -> bool:
    """True if `key` is that of a cell that the record's place lies in, or that of its signer's own lines."""
    return key in keys_of(record.tree, record.place) or (
        record.tree == MODELS and key == peer_key(record.peer_id)
    )


class RecordValidator(RecordValidatorBase):  # type: ignore[misc]  # hivemind is untyped
    """Ties every record to the libp2p identity that signed it. A new record takes 0.15 ms."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        # The latest expiry seen of each peer in each tree, least recently seen first. It protects readers as
        # well: a replica that holds back the newest record can't make them believe an older one.
        self._newest: OrderedDict[PeerId, OrderedDict[str, float]] = OrderedDict()

    def validate(self, record: DHTRecord) -> bool:
        """True if `record` may be stored or believed. This is hivemind's interface."""
        try:
            self.check(record.key, record.subkey, record.value, record.expiration_time)
        except InvalidRecordError:
            return False
        return True

    def check(self, key: bytes, subkey: bytes, value: bytes, expires_at: float) -> Record:
        """Verify a request to store a record. Raises InvalidRecordError with the reason."""
        if len(subkey) > MAX_DHT_KEY_BYTES:
            raise InvalidRecordError(f"a key has at most {MAX_DHT_KEY_BYTES} bytes")
        record = self.accept(key, value)
        if subkey != record.peer_id.encode():
            raise InvalidRecordError("a record under another peer's name, or under none")
        if expires_at != record.expires_at:
            raise InvalidRecordError("a record whose expiry was changed")
        return record

    def accept(self, key: bytes, value: bytes) -> Record:
        """Verify a record found under `key`, sizes first. Raises InvalidRecordError with the reason."""
        if len(key) > MAX_DHT_KEY_BYTES:
            raise InvalidRecordError(f"a key has at most {MAX_DHT_KEY_BYTES} bytes")
        record = read_record(value)
        if not may_be_under(key, record):
            raise InvalidRecordError("a record of another key")
        now = self._now()
        if record.expires_at <= now:
            raise InvalidRecordError("a record that has expired")
        if record.expires_at > now + LONGEST_SECONDS:
            raise InvalidRecordError(f"a record that lives longer than {MAX_LIFETIME_SECONDS:g} s")
        self._refuse_older(record)
        return record

    def is_replaced(self, record: Record) -> bool:
        """True if a newer record of the same peer in the same tree was seen, under whatever key."""
        of_peer = self._newest.get(record.peer_id)
        newest = record.expires_at if of_peer is None else of_peer.get(record.tree, record.expires_at)
        return record.expires_at < newest <= self._now() + LONGEST_SECONDS

    def _refuse_older(self, record: Record) -> None:
        if self.is_replaced(record):
            raise InvalidRecordError("a record older than one already seen")
        of_peer = self._newest.setdefault(record.peer_id, OrderedDict())
        of_peer[record.tree] = record.expires_at
        of_peer.move_to_end(record.tree)
        if len(of_peer) > _MAX_TREES:
            of_peer.popitem(last=False)
        self._newest.move_to_end(record.peer_id)
        if len(self._newest) > _MAX_REMEMBERED:
            self._newest.popitem(last=False)
