"""Whatever bytes and addresses a stranger sends, each reader of swarm/ raises its one error and no other.

Strangers can sign what they like: payloads are spoiled before they are signed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from google.protobuf.message import DecodeError
from hivemind.utils.serializer import MSGPackSerializer
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import InvalidRecordError, UsageError
from p2pinfer.identity import Identity
from p2pinfer.swarm import addresses, record_pb2
from p2pinfer.swarm.cells.keys import MODELS, root_key
from p2pinfer.swarm.kademlia.hardening import bounded_loads
from p2pinfer.swarm.kademlia.validator import RecordValidator
from p2pinfer.swarm.records.announcement import decode, encode
from p2pinfer.swarm.records.listing import (
    ListingEntry,
    ModelListing,
    decode_listing,
    encode_listing,
)
from p2pinfer.swarm.records.signed import MAX_RECORD_BYTES, parse_envelope, seal
from p2pinfer.wire.certificates import new_certificate
from tests.spoiled import spoiled
from tests.swarm.conftest import MODEL, describe

IDENTITY = Identity.ephemeral()
CERTIFICATE = new_certificate().der
SERVER = encode(
    describe(
        IDENTITY,
        endpoints=("192.0.2.7:4600", "[2001:db8::7]:65535"),
        certificate=CERTIFICATE,
        next_hop_seconds={Identity.ephemeral().peer_id: 0.25},
        leaves_at=2e9,
        public_name="Ann's car",
    ),
    IDENTITY,
)
TIMES = describe(IDENTITY)
LISTING = encode_listing(
    ListingEntry(
        peer_id=IDENTITY.peer_id,
        listing=ModelListing(model=MODEL, model_name="SmolLM2-135M-Instruct", num_layers=30),
        left=False,
        announced_at=TIMES.announced_at,
        expires_at=TIMES.expires_at,
    ),
    IDENTITY,
)


def signed(message: type[Any], kind: int, payload: bytes) -> tuple[bytes, bytes]:
    """The record that a stranger makes of a payload, signed for what it says, and its key."""
    said = message()
    with suppress(DecodeError):
        said.ParseFromString(payload)
    key = root_key(MODELS) if kind == record_pb2.RECORD_KIND_LISTING else root_key(said.model)
    return seal(IDENTITY, kind, payload[:3500]), key  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "kind", "valid", "read"),
    [
        (record_pb2.ServerRecord, record_pb2.RECORD_KIND_SERVER, SERVER, decode),
        (record_pb2.ListingRecord, record_pb2.RECORD_KIND_LISTING, LISTING, decode_listing),
    ],
    ids=["server", "listing"],
)
@given(data=st.data())
def test_any_signed_bytes_are_a_record_or_an_error(
    message: type[Any], kind: int, valid: bytes, read: Callable[[bytes], Any], data: st.DataObject
) -> None:
    payload = data.draw(spoiled(parse_envelope(valid)[0].payload))
    record, key = signed(message, kind, payload)
    with suppress(InvalidRecordError):
        assert read(record).peer_id == IDENTITY.peer_id
    with suppress(InvalidRecordError):
        RecordValidator().accept(key, record)


@given(spoiled(SERVER, LISTING), spoiled(root_key(MODEL)), st.floats())
def test_any_bytes_are_kept_as_a_record_or_refused(record: bytes, key: bytes, expires_at: float) -> None:
    for read in (decode, decode_listing, parse_envelope):
        with suppress(InvalidRecordError):
            read(record)  # type: ignore[operator]
    subkey = IDENTITY.peer_id.encode()
    for valid_or_not in (key, root_key(MODEL), root_key(MODELS)):
        with suppress(InvalidRecordError):
            RecordValidator().check(valid_or_not, subkey, record, expires_at)
    with pytest.raises(InvalidRecordError):
        decode(bytes(MAX_RECORD_BYTES + 1))


VALUES = [1, "a", [1, [2, [3]]], {"a": b"b"}, (1, ("a", (2,))), -1.5, None, 2**63]
PACKED = [MSGPackSerializer.dumps(value) for value in VALUES]
TIMESTAMP = msgpack.packb(msgpack.Timestamp(1, 2))


@given(spoiled(*PACKED, TIMESTAMP))
def test_any_msgpack_is_a_value_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        bounded_loads(data)


ADDRESSES = [
    f"/ip4/192.0.2.7/tcp/31330/p2p/{IDENTITY.peer_id}",
    f"/ip6/2001:db8::7/udp/31330/quic-v1/p2p/{IDENTITY.peer_id}",
    f"/dns4/example.org/tcp/31330/p2p/{IDENTITY.peer_id}",
    f"/ip4/192.0.2.7/tcp/1/p2p/{IDENTITY.peer_id}/p2p-circuit/p2p/{IDENTITY.peer_id}",
    "/unix/tmp/socket",
]
any_address = spoiled(*(address.encode() for address in ADDRESSES)).map(
    lambda data: data.decode("utf-8", "replace")
) | st.text(max_size=80)


@given(any_address)
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    for check in (addresses.check_peer_address, addresses.check_address):
        with suppress(UsageError):
            check(text)


@given(st.lists(any_address, max_size=3))
def test_any_addresses_of_a_peer_can_be_sorted_and_read(texts: list[str]) -> None:
    assert set(addresses.joinable(texts)) <= set(texts)
    addresses.with_quic(texts)
    addresses.with_ports(texts, ADDRESSES)
    for text in texts:
        addresses.is_loopback(text)
        endpoint = addresses.tcp_endpoint(text)
        assert endpoint is None or 0 <= endpoint[1] < 65536


@pytest.mark.parametrize("digits", ["65536", "9" * 5000, "٣", "-1", "+1", " 1"])
def test_no_endpoint_has_a_port_that_cant_be(digits: str) -> None:
    assert addresses.tcp_endpoint(f"/ip4/192.0.2.7/tcp/{digits}") is None
