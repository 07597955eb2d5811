"""Which records a node accepts, from a peer that stores one and from a peer that answers a search.

It refuses values that aren't a signed record of the peer in the subkey, values without a subkey, records
over 4 KB, keys over 128 bytes, lifetimes over ten minutes, expired records, and records older than one seen
before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from hivemind.dht.validation import DHTRecord, RecordValidatorBase

from p2pinfer.errors import InvalidRecordError
from p2pinfer.swarm.records.announcement import Announcement, decode, model_key
from p2pinfer.swarm.records.listing import LISTING_KEY, ListingEntry, decode_listing
from p2pinfer.swarm.records.signed import MAX_LIFETIME_SECONDS, MAX_RECORD_BYTES
from p2pinfer.types import PeerId

MAX_DHT_KEY_BYTES = 128
CLOCK_TOLERANCE_SECONDS = 30.0  # clocks differ: a peer's record may seem to live this much too long
_MAX_REMEMBERED = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A verified record and its signed bytes."""

    peer_id: PeerId
    data: bytes
    expires_at: float
    tree: str = ""  # of cells: its signer has one rank in all of them
    proof: bytes = b""  # that its signer has paid


class RecordValidator(RecordValidatorBase):  # type: ignore[misc]  # hivemind is untyped
    """Ties every record to the libp2p identity that signed it. A new record takes 0.15 ms."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        # The latest expiry seen of each (key, peer), least recently seen first. It protects readers as well:
        # a replica that holds back the newest record can't make them believe an older one.
        self._newest: OrderedDict[tuple[bytes, PeerId], float] = OrderedDict()

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
        if len(value) > MAX_RECORD_BYTES:
            raise InvalidRecordError(f"a record has at most {MAX_RECORD_BYTES} bytes")
        record, own_key = _read(key, value)
        if key != own_key:
            raise InvalidRecordError("a record of another key")
        now = self._now()
        if record.expires_at <= now:
            raise InvalidRecordError("a record that has expired")
        if record.expires_at > now + MAX_LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS:
            raise InvalidRecordError(f"a record that lives longer than {MAX_LIFETIME_SECONDS:g} s")
        self._refuse_older(key, record.peer_id, record.expires_at)
        return record

    def _refuse_older(self, key: bytes, peer_id: PeerId, expires_at: float) -> None:
        newest = self._newest.get((key, peer_id), expires_at)
        if expires_at < newest:
            raise InvalidRecordError("a record older than one already seen")
        self._newest[key, peer_id] = expires_at
        self._newest.move_to_end((key, peer_id))
        if len(self._newest) > _MAX_REMEMBERED:
            self._newest.popitem(last=False)


def _read(key: bytes, value: bytes) -> tuple[Record, bytes]:
    """The record and the key that its signature covers."""
    signed: Announcement | ListingEntry
    if key == LISTING_KEY:
        signed, own_key = decode_listing(value), LISTING_KEY
    else:
        signed = decode(value)
        own_key = model_key(signed.model)
    return Record(peer_id=signed.peer_id, data=value, expires_at=signed.expires_at), own_key
