"""The list of models in the swarm: servers add small signed lines to it, in the tree of models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.message import DecodeError

from p2pinfer.errors import InvalidRecordError
from p2pinfer.identity import Identity
from p2pinfer.swarm import record_pb2
from p2pinfer.swarm.cells.place import place_of_model
from p2pinfer.swarm.records.bounds import MAX_LAYERS, check_model, check_number, check_text, check_times
from p2pinfer.swarm.records.signed import check_signature, parse_envelope, seal
from p2pinfer.types import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelListing:
    """A model with at least some of its layers in the swarm. The name is for people: trust the hash."""

    model: str  # manifest hash
    model_name: str
    num_layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingEntry:
    """One server's line in the list."""

    peer_id: PeerId
    listing: ModelListing
    left: bool
    announced_at: float
    expires_at: float

    @property
    def place(self) -> str:
        """Where it is listed in the tree of models."""
        return place_of_model(self.listing.model)


def encode_listing(entry: ListingEntry, identity: Identity) -> bytes:
    """Sign a line of the list. Raises InvalidRecordError, naming the field, if one is out of bounds."""
    _check(entry)
    if entry.peer_id != identity.peer_id:
        raise InvalidRecordError("peer_id: a record can only be signed by the peer it is about")
    record = record_pb2.ListingRecord(
        model=entry.listing.model,
        model_name=entry.listing.model_name,
        num_layers=entry.listing.num_layers,
        left=entry.left,
        announced_at=entry.announced_at,
        expires_at=entry.expires_at,
    )
    payload = record.SerializeToString(deterministic=True)
    return seal(identity, record_pb2.RECORD_KIND_LISTING, payload)


@lru_cache(maxsize=1024)
def decode_listing(data: bytes) -> ListingEntry:
    """Read and verify a line of the list. Raises only InvalidRecordError, whatever the bytes are."""
    envelope, peer_id = parse_envelope(data)
    if envelope.kind != record_pb2.RECORD_KIND_LISTING:
        raise InvalidRecordError("not a line of the list of models")
    record = record_pb2.ListingRecord()
    try:
        record.ParseFromString(envelope.payload)
    except DecodeError as error:
        raise InvalidRecordError("not a line of the list of models") from error
    check_signature(envelope)
    entry = ListingEntry(
        peer_id=peer_id,
        listing=ModelListing(model=record.model, model_name=record.model_name, num_layers=record.num_layers),
        left=record.left,
        announced_at=record.announced_at,
        expires_at=record.expires_at,
    )
    _check(entry)
    return entry


def summarize(entries: Iterable[ListingEntry]) -> list[ModelListing]:
    """One listing per manifest hash, with the name that most servers use for it; sorted by name."""
    votes: dict[str, Counter[ModelListing]] = {}
    for entry in entries:
        if not entry.left:
            votes.setdefault(entry.listing.model, Counter())[entry.listing] += 1
    winners = [
        min(counter, key=lambda listing: (-counter[listing], listing.model_name, listing.num_layers))
        for counter in votes.values()
    ]
    return sorted(winners, key=lambda listing: (listing.model_name, listing.model))


def _check(entry: ListingEntry) -> None:
    check_model(entry.listing.model)
    check_text("model_name", entry.listing.model_name, max_characters=128, required=True)
    check_number("num_layers", entry.listing.num_layers, 1, MAX_LAYERS)
    check_times(entry.announced_at, entry.expires_at)
