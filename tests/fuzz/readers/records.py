"""Readers of what is said in the swarm. Strangers sign what they like: payloads are spoiled, then signed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from google.protobuf.message import DecodeError
from hivemind.utils.multiaddr import Multiaddr
from hivemind.utils.serializer import MSGPackSerializer

from p2pinfer.errors import InvalidCertificateError, InvalidRecordError, UsageError
from p2pinfer.identity import Identity, peer_id_to_bytes
from p2pinfer.outside.certificate import read_certificate
from p2pinfer.server.sessions.next_record import check_next
from p2pinfer.swarm import addresses, record_pb2
from p2pinfer.swarm.cells.keys import MODELS, root_key
from p2pinfer.swarm.kademlia.hardening import bounded_loads
from p2pinfer.swarm.kademlia.validator import RecordValidator
from p2pinfer.swarm.reach.claimed import claimed_reach, relays_of
from p2pinfer.swarm.records.announcement import Announcement, ServerState, decode, encode
from p2pinfer.swarm.records.bounds import check_maddr
from p2pinfer.swarm.records.listing import (
    ListingEntry,
    ModelListing,
    decode_listing,
    encode_listing,
)
from p2pinfer.swarm.records.signed import parse_envelope, seal
from p2pinfer.types import LayerSeconds, Span
from p2pinfer.wire.certificates import new_certificate, pinned, pinned_context
from p2pinfer.wire.inference_pb2 import Terms
from p2pinfer.wire.status import Refused
from tests.fuzz.reader import Reader
from tests.fuzz.spoiling.spoiler import Form

ME = Identity.ephemeral()
"""The stranger."""
_OTHER = Identity.ephemeral()
_MODEL = "ab" * 32
_CERTIFICATE = new_certificate().der
_NOW = time.time()
SERVER = Announcement(
    peer_id=ME.peer_id,
    model=_MODEL,
    model_name="SmolLM2-135M-Instruct",
    num_layers=30,
    layers=Span(0, 10),
    moves_to=Span(10, 20),
    state=ServerState.SERVING,
    numerics="native-w8a8h64-1",
    endpoints=("192.0.2.7:4600", "[2001:db8::7]:65535", "car.example:1"),
    certificate=_CERTIFICATE,
    maddrs=(f"/ip4/192.0.2.7/tcp/31330/p2p/{ME.peer_id}",),
    relays=(f"/ip6/2001:db8::7/udp/31330/quic-v1/p2p/{_OTHER.peer_id}",),
    decode=LayerSeconds(0.001, 0.0001),
    prefill=LayerSeconds(0.0001, 0.0),
    measured_at=_NOW,
    batch_costs={8: 1.5},
    next_hop_seconds={_OTHER.peer_id: 0.25},
    leaves_at=_NOW + 60,
    version="1",
    public_name="Ann's car",
    announced_at=_NOW,
    expires_at=_NOW + 500.0,
)
_ENTRY = ListingEntry(
    peer_id=ME.peer_id,
    listing=ModelListing(model=_MODEL, model_name="SmolLM2-135M-Instruct", num_layers=30),
    left=False,
    announced_at=_NOW,
    expires_at=_NOW + 500.0,
)
_TERMS = Terms(server=_OTHER.peer_id, model=_MODEL, numerics="native-w8a8h64-1", end_layer=5)
RECORD_BYTES = 3900
"""Of a payload: with a longer one there is no record."""


def server_record() -> bytes:
    """A valid one, with all fields."""
    return encode(SERVER, ME)


def server_records() -> Reader:
    def read(payload: bytes) -> None:
        said = record_pb2.ServerRecord()
        with suppress(DecodeError):
            said.ParseFromString(payload)
        key = root_key(said.model)
        data = seal(ME, record_pb2.RECORD_KIND_SERVER, payload[:RECORD_BYTES])
        record = decode.__wrapped__(data)  # not remembered: it won't come again
        encode(record, ME)  # within the bounds of those that we write
        claimed_reach(record), relays_of(record)
        for address in record.maddrs + record.relays:
            addresses.tcp_endpoint(address)
            transport, _, peer_id = address.rpartition("/p2p/")
            Multiaddr(transport).to_bytes(), peer_id_to_bytes(peer_id)  # as p2pd is told them
        if record.certificate:
            pinned(record.certificate)
        with suppress(Refused):
            check_next(record, _TERMS, _NOW)
        RecordValidator(lambda: _NOW).accept(key, data)

    payload = parse_envelope(server_record())[0].payload
    return Reader(samples=[payload], form=Form.FIELDS, read=read, errors=(InvalidRecordError,))


def listings() -> Reader:
    def read(payload: bytes) -> None:
        said = record_pb2.ListingRecord()
        with suppress(DecodeError):
            said.ParseFromString(payload)
        data = seal(ME, record_pb2.RECORD_KIND_LISTING, payload[:RECORD_BYTES])
        decode_listing.__wrapped__(data)
        RecordValidator(lambda: _NOW).accept(root_key(MODELS), data)

    payload = parse_envelope(encode_listing(_ENTRY, ME))[0].payload
    return Reader(samples=[payload], form=Form.FIELDS, read=read, errors=(InvalidRecordError,))


def envelopes() -> Reader:
    """Of records whose signature is right or wrong, under any key."""
    keys = (root_key(_MODEL), root_key(MODELS))

    def read(data: bytes) -> None:
        accepted = 0
        for key in keys:
            with suppress(InvalidRecordError):
                RecordValidator(lambda: _NOW).check(key, ME.peer_id.encode(), data, SERVER.expires_at)
                accepted += 1
        if not accepted:
            raise InvalidRecordError("neither")

    samples = [encode(SERVER, ME), encode_listing(_ENTRY, ME)]
    return Reader(samples=samples, form=Form.FIELDS, read=read, errors=(InvalidRecordError,))


def certificates() -> Reader:
    """What is accepted with a record can be used: every TLS library takes it."""

    def read(der: bytes) -> None:
        read_certificate.__wrapped__(der)
        pinned(der)
        try:
            pinned_context(der)
        except InvalidCertificateError as error:
            raise AssertionError("OpenSSL can't read what was accepted") from error

    samples = [_CERTIFICATE, new_certificate().der]
    errors = (InvalidCertificateError,)
    return Reader(samples=samples, form=Form.BYTES, read=read, errors=errors)


def msgpack() -> Reader:
    values: list[Any] = [1, "a", [1, [2, [3]]], {"a": b"b"}, (1, ("a", (2,))), -1.5, None, 2**63]
    samples = [MSGPackSerializer.dumps(value) for value in [*values, values]]
    return Reader(samples=samples, form=Form.BYTES, read=bounded_loads, errors=(ValueError,))


def peer_addresses() -> Reader:
    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        addresses.joinable([text])
        addresses.with_quic([text])
        addresses.is_loopback(text)
        addresses.tcp_endpoint(text)
        addresses.ip_of(text)
        addresses.check_address(text)
        addresses.check_peer_address(text)

    samples = [
        f"/ip4/192.0.2.7/tcp/31330/p2p/{ME.peer_id}",
        f"/ip6/2001:db8::7/udp/31330/quic-v1/p2p/{ME.peer_id}",
        f"/dns4/example.org/tcp/31330/p2p/{ME.peer_id}",
        f"/ip4/192.0.2.7/tcp/1/p2p/{_OTHER.peer_id}/p2p-circuit/p2p/{ME.peer_id}",
    ]
    return Reader(
        samples=[sample.encode() for sample in samples],
        form=Form.BYTES,
        read=read,
        errors=(UsageError,),
    )


def record_addresses() -> Reader:
    """Multiaddresses in records: what is accepted can be told to p2pd."""

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        peer_id = check_maddr("relays", text)
        Multiaddr(text.rpartition("/p2p/")[0]).to_bytes(), peer_id_to_bytes(peer_id)

    samples = [
        f"{transport}/p2p/{ME.peer_id}".encode()
        for transport in (
            "/ip4/192.0.2.7/tcp/31330",
            "/ip6/2001:db8::7/udp/31330/quic-v1",
            "/dns4/car.example/tcp/1",
            "/dns6/car.example/udp/1/quic-v1",
            "/dns/car.example/tcp/1",
        )
    ]
    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(InvalidRecordError,))


READERS: Mapping[str, Callable[[], Reader]] = {
    "server-records": server_records,
    "listings": listings,
    "envelopes": envelopes,
    "certificates": certificates,
    "msgpack": msgpack,
    "peer-addresses": peer_addresses,
    "record-addresses": record_addresses,
}
