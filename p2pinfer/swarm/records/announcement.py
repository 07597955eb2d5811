"""What a server announces about itself, and how that becomes signed bytes and is read from them.

The same bounds are checked when an announcement is written and when it is read. Only validator.py compares
its lifetime with the clock.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from types import MappingProxyType

from google.protobuf.message import DecodeError

from p2pinfer.errors import InvalidCertificateError, InvalidRecordError
from p2pinfer.identity import Identity, peer_id_from_bytes, peer_id_to_bytes
from p2pinfer.outside.certificate import read_certificate
from p2pinfer.swarm import record_pb2
from p2pinfer.swarm.cells.place import place_of
from p2pinfer.swarm.coordinates.quantized import ORIGIN, Quantized
from p2pinfer.swarm.records.bounds import (
    MAX_LAYERS,
    check_endpoint,
    check_maddr,
    check_model,
    check_number,
    check_text,
    check_times,
)
from p2pinfer.swarm.records.signed import (
    ENVELOPE_BYTES,
    MAX_RECORD_BYTES,
    check_signature,
    parse_envelope,
    seal,
)
from p2pinfer.types import UNKNOWN_SECONDS, Address, LayerSeconds, PeerId, Span

MAX_ENDPOINTS = 8
MAX_MADDRS = 8
MAX_RELAYS = 4
MAX_NEXT_HOPS = 24
MIN_NEXT_HOP_SECONDS = 1e-6
MAX_NEXT_HOP_SECONDS = 60.0
MAX_BATCH_COSTS = 4
MAX_BATCH_SEQUENCES = 1024
_NEXT_HOP_BYTES = 51  # in the message


class ServerState(enum.Enum):
    """The stage of a server's life. The values are those of record.proto."""

    JOINING = 1
    SERVING = 2
    DRAINING = 3
    LEFT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a server says about itself and one model. Self-reported: a routing hint, not a promise."""

    peer_id: PeerId
    model: str  # manifest hash, 64 hex digits
    model_name: str
    num_layers: int  # of the whole model
    layers: Span
    state: ServerState
    numerics: str  # engine and recipe; routes stay inside one class
    endpoints: tuple[str, ...] = ()  # host:port of gRPC over TLS; empty: only a tunnel leads to it
    certificate: bytes = b""  # DER; the endpoints present it
    maddrs: tuple[str, ...] = ()  # full multiaddresses where others have dialled its libp2p node
    relays: tuple[str, ...] = ()  # full multiaddresses of the peers through which it is reached
    is_mapped: bool = False  # `maddrs` are ports that its router has opened for it
    is_relay: bool = False  # it passes the traffic of others on
    decode: LayerSeconds = UNKNOWN_SECONDS  # one token, alone in its batch
    prefill: LayerSeconds = UNKNOWN_SECONDS  # one token of many in a prefill
    measured_at: float | None = None  # Unix seconds of the last step that `decode` was measured by
    prefill_measured_at: float | None = None  # likewise for `prefill`
    batch_costs: Mapping[int, float] = field(default_factory=dict)
    """Seconds of a decode step by the number of its sequences, in seconds of a step of one."""
    holds_ends: bool = False  # it can give others the files that a client needs
    is_undecided: bool = False  # it joins or moves, and may still choose otherwise
    moves_to: Span | None = None  # it goes from `layers` to these
    queue_depth: int = 0  # waiting steps
    free_cache_tokens: int = 0  # tokens that new sessions can cache, through all layers of the span
    next_hop_seconds: Mapping[PeerId, float] = field(default_factory=dict)  # measured round trips
    leaves_at: float | None = None  # Unix seconds
    version: str = ""
    public_name: str = ""
    region: str = ""  # country or region, if the owner wants it shown
    cell: Quantized = ORIGIN  # where it is in the network, no finer than a ping tells
    announced_at: float  # Unix seconds
    expires_at: float  # Unix seconds
    record: bytes = field(default=b"", repr=False, compare=False)  # the signed bytes it was read from

    @property
    def address(self) -> Address:
        """Where the server is."""
        return Address(
            self.peer_id, self.endpoints, self.certificate, self.maddrs, self.relays, self.is_mapped
        )

    @property
    def place(self) -> str:
        """Where it is announced in the tree of its model."""
        return place_of(self.cell, self.peer_id)


def _layer_seconds_message(line: LayerSeconds) -> record_pb2.LayerSeconds:
    return record_pb2.LayerSeconds(first=line.first, per_1024=line.per_1024)


def encode(announcement: Announcement, identity: Identity) -> bytes:
    """Sign an announcement. Raises InvalidRecordError, naming the field that is out of bounds.

    The record has at most 4096 bytes.
    """
    check(announcement)
    if announcement.peer_id != identity.peer_id:
        raise InvalidRecordError("peer_id: a record can only be signed by the peer it is about")
    payload = _message(announcement).SerializeToString(deterministic=True)
    return seal(identity, record_pb2.RECORD_KIND_SERVER, payload)


def fitting(announcement: Announcement) -> Announcement:
    """The announcement without those of its last next hops for which a record has no room.

    There is room for all of them unless names and endpoints are very long.
    """
    too_many_bytes = _message(announcement).ByteSize() + ENVELOPE_BYTES - MAX_RECORD_BYTES
    if too_many_bytes <= 0:
        return announcement
    kept = len(announcement.next_hop_seconds) - -(-too_many_bytes // _NEXT_HOP_BYTES)
    return replace(
        announcement, next_hop_seconds=dict(islice(announcement.next_hop_seconds.items(), max(0, kept)))
    )


def _message(announcement: Announcement) -> record_pb2.ServerRecord:
    return record_pb2.ServerRecord(
        model=announcement.model,
        model_name=announcement.model_name,
        num_layers=announcement.num_layers,
        first_layer=announcement.layers.start,
        end_layer=announcement.layers.end,
        state=record_pb2.ServerState.Name(announcement.state.value),
        numerics=announcement.numerics,
        endpoints=announcement.endpoints,
        certificate=announcement.certificate,
        maddrs=announcement.maddrs,
        relays=announcement.relays,
        is_mapped=announcement.is_mapped,
        is_relay=announcement.is_relay,
        decode=_layer_seconds_message(announcement.decode),
        prefill=_layer_seconds_message(announcement.prefill),
        measured_at=announcement.measured_at,
        prefill_measured_at=announcement.prefill_measured_at,
        batch_costs=[
            record_pb2.BatchCost(sequences=sequences, cost=cost)
            for sequences, cost in announcement.batch_costs.items()
        ],
        holds_ends=announcement.holds_ends,
        is_undecided=announcement.is_undecided,
        moves_to_first_layer=None if announcement.moves_to is None else announcement.moves_to.start,
        moves_to_end_layer=None if announcement.moves_to is None else announcement.moves_to.end,
        queue_depth=announcement.queue_depth,
        free_cache_tokens=announcement.free_cache_tokens,
        next_hops=[
            record_pb2.NextHop(peer_id=peer_id_to_bytes(peer_id), seconds=seconds)
            for peer_id, seconds in announcement.next_hop_seconds.items()
        ],
        leaves_at=announcement.leaves_at,
        version=announcement.version,
        public_name=announcement.public_name,
        region=announcement.region,
        cell=record_pb2.NetworkCell(
            x=announcement.cell.x, y=announcement.cell.y, height=announcement.cell.height
        ),
        announced_at=announcement.announced_at,
        expires_at=announcement.expires_at,
    )


@lru_cache(maxsize=1024)  # a reader gets the same record from each replica; verifying takes 0.15 ms
def decode(data: bytes) -> Announcement:
    """Read and verify a record. Raises only InvalidRecordError, whatever the bytes are."""
    envelope, peer_id = parse_envelope(data)
    if envelope.kind != record_pb2.RECORD_KIND_SERVER:
        raise InvalidRecordError("not the record of a server")
    record = record_pb2.ServerRecord()
    try:
        record.ParseFromString(envelope.payload)
    except DecodeError as error:
        raise InvalidRecordError("not the record of a server") from error
    # The signature comes first, so that the errors of later checks tell a forger nothing.
    check_signature(envelope)
    if len(record.next_hops) > MAX_NEXT_HOPS:
        raise InvalidRecordError(f"next_hop_seconds: at most {MAX_NEXT_HOPS}")
    if len(record.batch_costs) > MAX_BATCH_COSTS:
        raise InvalidRecordError(f"batch_costs: at most {MAX_BATCH_COSTS}")
    try:
        announcement = Announcement(
            peer_id=peer_id,
            model=record.model,
            model_name=record.model_name,
            num_layers=record.num_layers,
            layers=Span(record.first_layer, record.end_layer),
            state=ServerState(record.state),
            numerics=record.numerics,
            endpoints=tuple(record.endpoints),
            certificate=record.certificate,
            maddrs=tuple(record.maddrs),
            relays=tuple(record.relays),
            is_mapped=record.is_mapped,
            is_relay=record.is_relay,
            decode=LayerSeconds(record.decode.first, record.decode.per_1024),
            prefill=LayerSeconds(record.prefill.first, record.prefill.per_1024),
            measured_at=record.measured_at if record.HasField("measured_at") else None,
            prefill_measured_at=record.prefill_measured_at
            if record.HasField("prefill_measured_at")
            else None,
            batch_costs=MappingProxyType({one.sequences: one.cost for one in record.batch_costs}),
            holds_ends=record.holds_ends,
            is_undecided=record.is_undecided,
            moves_to=_moves_to(record),
            queue_depth=record.queue_depth,
            free_cache_tokens=record.free_cache_tokens,
            next_hop_seconds=MappingProxyType(
                {peer_id_from_bytes(hop.peer_id): hop.seconds for hop in record.next_hops}
            ),
            leaves_at=record.leaves_at if record.HasField("leaves_at") else None,
            version=record.version,
            public_name=record.public_name,
            region=record.region,
            cell=Quantized(x=record.cell.x, y=record.cell.y, height=record.cell.height),
            announced_at=record.announced_at,
            expires_at=record.expires_at,
            record=data,
        )
    except ValueError as error:
        raise InvalidRecordError(f"the record of a server: {error}") from error
    check(announcement)
    return announcement


def _moves_to(record: record_pb2.ServerRecord) -> Span | None:
    """Raises ValueError for half a span, or an empty one."""
    ends = record.HasField("moves_to_first_layer"), record.HasField("moves_to_end_layer")
    if not any(ends):
        return None
    if not all(ends):
        raise ValueError("moves_to has both ends or none")
    return Span(record.moves_to_first_layer, record.moves_to_end_layer)


def check(announcement: Announcement) -> None:
    """Raise InvalidRecordError, naming the field, unless every field is within its bounds."""
    try:
        peer_id_to_bytes(announcement.peer_id)
        for peer_id in announcement.next_hop_seconds:
            peer_id_to_bytes(peer_id)
    except ValueError as error:
        raise InvalidRecordError(f"peer_id: {error}") from error
    check_model(announcement.model)
    check_text("model_name", announcement.model_name, max_characters=128, required=True)
    check_number("num_layers", announcement.num_layers, 1, MAX_LAYERS)
    check_number("layers", announcement.layers.end, 1, announcement.num_layers)
    if announcement.moves_to is not None:
        check_number("moves_to", announcement.moves_to.end, 1, announcement.num_layers)
    check_text("numerics", announcement.numerics, max_characters=64, required=True)
    check_text("version", announcement.version, max_characters=32)
    check_text("public_name", announcement.public_name, max_characters=64)
    check_text("region", announcement.region, max_characters=32)
    if len(announcement.endpoints) > MAX_ENDPOINTS:
        raise InvalidRecordError(f"endpoints: at most {MAX_ENDPOINTS}")
    for endpoint in announcement.endpoints:
        check_endpoint(endpoint)
    for name, maddrs, most in (
        ("maddrs", announcement.maddrs, MAX_MADDRS),
        ("relays", announcement.relays, MAX_RELAYS),
    ):
        if len(maddrs) > most:
            raise InvalidRecordError(f"{name}: at most {most}")
        peers = [check_maddr(name, maddr) for maddr in maddrs]
        if any((peer == announcement.peer_id) != (name == "maddrs") for peer in peers):
            raise InvalidRecordError(f"{name}: the peer id at the end doesn't fit")
    if announcement.certificate:
        try:
            read_certificate(announcement.certificate)
        except InvalidCertificateError as error:
            raise InvalidRecordError(f"certificate: {error}") from error
    if announcement.endpoints and not announcement.certificate and announcement.state is not ServerState.LEFT:
        raise InvalidRecordError("certificate: endpoints need one, because clients trust nothing else")
    for name, line in (("decode", announcement.decode), ("prefill", announcement.prefill)):
        check_number(name, line.first, 0.0, 3600.0)
        check_number(name, line.per_1024, 0.0, 3600.0)
    if announcement.measured_at is not None:
        check_number("measured_at", announcement.measured_at, 0.0, 2.0**40)
    if announcement.prefill_measured_at is not None:
        check_number("prefill_measured_at", announcement.prefill_measured_at, 0.0, 2.0**40)
    if len(announcement.batch_costs) > MAX_BATCH_COSTS:
        raise InvalidRecordError(f"batch_costs: at most {MAX_BATCH_COSTS}")
    for sequences, cost in announcement.batch_costs.items():
        check_number("batch_costs", sequences, 2, MAX_BATCH_SEQUENCES)
        check_number("batch_costs", cost, 1.0, sequences)
    check_number("queue_depth", announcement.queue_depth, 0, 1_000_000)
    check_number("free_cache_tokens", announcement.free_cache_tokens, 0, 2**40)
    if len(announcement.next_hop_seconds) > MAX_NEXT_HOPS:
        raise InvalidRecordError(f"next_hop_seconds: at most {MAX_NEXT_HOPS}")
    for seconds in announcement.next_hop_seconds.values():
        check_number("next_hop_seconds", seconds, MIN_NEXT_HOP_SECONDS, MAX_NEXT_HOP_SECONDS)
    if announcement.leaves_at is not None:
        check_number("leaves_at", announcement.leaves_at, 0.0, 2.0**40)
    check_times(announcement.announced_at, announcement.expires_at)
