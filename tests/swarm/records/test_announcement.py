"""The signed record: what goes in comes out, and nothing else comes in."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import InvalidRecordError
from p2pinfer.identity import Identity
from p2pinfer.swarm import record_pb2
from p2pinfer.swarm.records.announcement import (
    Announcement,
    ServerState,
    decode,
    encode,
    fitting,
)
from p2pinfer.swarm.records.listing import decode_listing
from p2pinfer.swarm.records.signed import MAX_RECORD_BYTES, seal
from p2pinfer.types import LayerSeconds, Span
from p2pinfer.wire.certificates import new_certificate
from tests.outside.certificates import VERSION_3, numbered_certificate
from tests.swarm.conftest import MODEL, describe
from tests.swarm.strangers_record import strangers_record

IDENTITY = Identity.ephemeral()
OTHERS = [Identity.ephemeral().peer_id for _ in range(3)]
CERTIFICATE = new_certificate().der
LONG_MADDRS = (f"/dns4/{'x' * 40}.{'x' * 39}/tcp/1/p2p/{IDENTITY.peer_id}",) * 8
HOPS = {Identity.ephemeral().peer_id: (index + 1) / 1000 for index in range(24)}
printable = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=32)


lines = st.builds(LayerSeconds, st.floats(0, 3600), st.floats(0, 3600))


@st.composite
def announcements(draw: st.DrawFn) -> Announcement:
    num_layers = draw(st.integers(1, 4096))
    start = draw(st.integers(0, num_layers - 1))
    announced_at = draw(st.floats(1e9, 4e9))
    return Announcement(
        peer_id=IDENTITY.peer_id,
        model=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        model_name=draw(printable),
        num_layers=num_layers,
        layers=Span(start, draw(st.integers(start + 1, num_layers))),
        state=draw(st.sampled_from(ServerState)),
        numerics=draw(printable),
        endpoints=draw(st.sampled_from([(), ("192.0.2.7:4600",), ("a.example:1", "[2001:db8::7]:65535")])),
        certificate=numbered_certificate(draw(st.text(max_size=4))),
        decode=draw(lines),
        prefill=draw(lines),
        measured_at=draw(st.none() | st.floats(0, 4e9)),
        prefill_measured_at=draw(st.none() | st.floats(0, 4e9)),
        batch_costs=draw(st.dictionaries(st.integers(4, 1024), st.floats(1, 4), max_size=4)),
        queue_depth=draw(st.integers(0, 1_000_000)),
        free_cache_tokens=draw(st.integers(0, 2**40)),
        next_hop_seconds=draw(st.dictionaries(st.sampled_from(OTHERS), st.floats(1e-6, 60))),
        leaves_at=draw(st.none() | st.floats(0, 4e9)),
        version=draw(printable),
        public_name=draw(printable),
        region=draw(printable)[:32],
        announced_at=announced_at,
        expires_at=announced_at + draw(st.floats(1, 599)),
    )


@given(announcements())
def test_what_is_announced_is_read(announcement: Announcement) -> None:
    data = encode(announcement, IDENTITY)

    assert decode(data) == announcement
    assert decode(data).record == data
    assert len(data) <= MAX_RECORD_BYTES


def test_every_flipped_byte_is_noticed() -> None:
    """Each byte of the record, with one bit flipped and with all eight."""
    data = encode(describe(IDENTITY, endpoints=("192.0.2.7:4600",), certificate=CERTIFICATE), IDENTITY)

    for position in range(len(data)):
        for mask in (1, 0x80, 0xFF):
            altered = data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]
            with pytest.raises(InvalidRecordError):
                decode(altered)


@given(st.data())
def test_cut_or_lengthened_records_are_refused(data: st.DataObject) -> None:
    record = encode(describe(IDENTITY), IDENTITY)
    cut = data.draw(st.integers(0, len(record) - 1))
    added = data.draw(st.binary(min_size=1, max_size=50))

    for altered in (record[:cut], record + added, added + record):
        with pytest.raises(InvalidRecordError):
            decode(altered)


@given(st.binary(max_size=5000))
def test_random_bytes_raise_one_error_only(data: bytes) -> None:
    for read in (decode, decode_listing):
        with pytest.raises(InvalidRecordError):
            read(data)


@given(st.binary(max_size=300))
def test_a_signed_payload_of_nonsense_raises_one_error_only(payload: bytes) -> None:
    """A peer can sign any bytes."""
    server = seal(IDENTITY, record_pb2.RECORD_KIND_SERVER, payload)
    listing = seal(IDENTITY, record_pb2.RECORD_KIND_LISTING, payload)

    with pytest.raises(InvalidRecordError):
        decode(server)
    with pytest.raises(InvalidRecordError):
        decode_listing(listing)


BAD_FIELDS: list[tuple[str, Any]] = [
    ("model", "ab"),
    ("model", "AB" * 32),
    ("model", "ab" * 31 + "\n\n"),
    ("model_name", ""),
    ("model_name", "x" * 1_000_000),
    ("model_name", "line\nbreak"),
    ("model_name", "escape\x1b[2J"),
    ("num_layers", 0),
    ("num_layers", 1_000_000_000),
    ("layers", Span(0, 31)),
    ("numerics", "x" * 65),
    ("endpoints", ("192.0.2.7:0",)),
    ("endpoints", ("192.0.2.7:65536",)),
    ("endpoints", ("unix:/etc/passwd",)),
    ("endpoints", ("dns:///evil:1",)),
    ("endpoints", ("a b:1",)),
    ("endpoints", ("192.0.2.7:1",) * 9),
    ("endpoints", ("x" * 300 + ":1",)),
    ("certificate", b"x" * 1_000_000),
    ("decode", LayerSeconds(math.nan)),
    ("decode", LayerSeconds(-1.0)),
    ("decode", LayerSeconds(1e308)),
    ("decode", LayerSeconds(0.1, -1.0)),
    ("prefill", LayerSeconds(math.inf)),
    ("prefill", LayerSeconds(0.1, math.nan)),
    ("measured_at", math.inf),
    ("prefill_measured_at", -1.0),
    ("batch_costs", {1: 1.0}),
    ("batch_costs", {8: 0.5}),
    ("batch_costs", {8: 8.1}),
    ("batch_costs", {8: math.nan}),
    ("batch_costs", {1025: 2.0}),
    ("batch_costs", dict.fromkeys(range(2, 7), 1.5)),
    ("queue_depth", 1_000_001),
    ("free_cache_tokens", 2**41),
    ("next_hop_seconds", {OTHERS[0]: math.nan}),
    ("next_hop_seconds", {OTHERS[0]: 0.0}),
    ("next_hop_seconds", {"nobody": 1.0}),
    ("next_hop_seconds", {Identity.ephemeral().peer_id: 1.0 for _ in range(25)}),
    ("leaves_at", math.nan),
    ("version", "x" * 33),
    ("public_name", "turned \u202e round"),
    ("public_name", "\u0000"),
    ("region", "x" * 33),
    ("announced_at", math.nan),
    ("expires_at", math.inf),
    ("expires_at", 0.0),
    ("expires_at", 1e300),
]


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_a_field_out_of_bounds_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidRecordError, match=f"^(peer_id|{name}|expires_at)"):
        encode(describe(IDENTITY, **{"certificate": CERTIFICATE, name: value}), IDENTITY)


def test_endpoints_without_a_certificate_are_refused() -> None:
    with pytest.raises(InvalidRecordError, match="certificate"):
        encode(describe(IDENTITY, endpoints=("192.0.2.7:1",)), IDENTITY)


def test_bounds_hold_for_the_reader_too() -> None:
    """A record that other software wrote is checked in the same way."""
    announcement = describe(IDENTITY)
    good = record_pb2.ServerRecord(
        model=MODEL,
        model_name="m",
        num_layers=30,
        first_layer=0,
        end_layer=10,
        state=record_pb2.SERVER_STATE_SERVING,
        numerics="x",
        announced_at=announcement.announced_at,
        expires_at=announcement.expires_at,
    )

    def sealed(**changes: Any) -> bytes:
        record = record_pb2.ServerRecord()
        record.CopyFrom(good)
        for name, value in changes.items():
            setattr(record, name, value)
        payload = record.SerializeToString()
        return seal(IDENTITY, record_pb2.RECORD_KIND_SERVER, payload)

    assert decode(sealed()).layers == Span(0, 10)
    for changes in (
        {"measured_at": math.nan},
        {"num_layers": 4_000_000_000},
        {"end_layer": 0},
        {"end_layer": 31},
        {"state": 0},
        {"state": 99},
        {"public_name": "a\x07bell"},
        {"expires_at": announcement.expires_at + 3600},
        {"leaves_at": math.inf},
    ):
        with pytest.raises(InvalidRecordError):
            decode(sealed(**changes))


@pytest.mark.parametrize(
    "certificate",
    [
        pytest.param(b"der", id="no DER"),
        pytest.param(CERTIFICATE.replace(VERSION_3, VERSION_3[:-1] + b"\x0e"), id="X.509 version 15"),
        pytest.param(CERTIFICATE + b"\0", id="one more byte"),
        pytest.param(CERTIFICATE + CERTIFICATE, id="twice"),
        pytest.param(CERTIFICATE[:-1], id="cut short"),
        pytest.param(b"x" * 1537, id="too long"),
    ],
)
def test_a_record_whose_certificate_nobody_can_use_is_no_record(certificate: bytes) -> None:
    """Whoever pings its server or connects to it would read the certificate, sooner or later."""
    valid = describe(IDENTITY, endpoints=("192.0.2.7:4600",), certificate=CERTIFICATE)
    with pytest.raises(InvalidRecordError, match="certificate: "):
        encode(replace(valid, certificate=certificate), IDENTITY)
    with pytest.raises(InvalidRecordError, match="certificate: "):
        decode(strangers_record(valid, IDENTITY, certificate=certificate))


def test_a_record_over_4_kb_cant_be_made() -> None:
    big = describe(
        IDENTITY,
        certificate=CERTIFICATE,
        next_hop_seconds=HOPS,
        endpoints=("x" * 240 + ":1",) * 8,
        maddrs=LONG_MADDRS,
    )

    with pytest.raises(InvalidRecordError, match="4096"):
        encode(big, IDENTITY)


def test_a_record_has_room_for_every_hint_beside_long_names_and_a_real_certificate() -> None:
    """Endpoints take most: what is left is enough for eight with 60 characters."""
    full = describe(
        IDENTITY,
        num_layers=4096,
        layers=Span(4000, 4096),
        model_name="m" * 128,
        numerics="n" * 64,
        version="v" * 32,
        public_name="é" * 64,
        region="r" * 32,
        certificate=CERTIFICATE,
        endpoints=("x" * 54 + ":65535",) * 8,
        decode=LayerSeconds(0.1, 0.1),
        prefill=LayerSeconds(0.1, 0.1),
        measured_at=2e9,
        prefill_measured_at=2e9,
        batch_costs={8: 1.5, 32: 3.5, 64: 6.5, 1024: 99.5},
        holds_ends=True,
        is_undecided=True,
        queue_depth=1_000_000,
        free_cache_tokens=2**40,
        next_hop_seconds=HOPS,
        leaves_at=2e9,
        moves_to=Span(3000, 4000),
    )

    assert len(encode(full, IDENTITY)) < 4096
    assert fitting(full) is full


def test_the_farthest_next_hops_give_way_where_endpoints_are_long() -> None:
    """A server that has measured its neighbours can still be announced."""
    long = describe(
        IDENTITY,
        next_hop_seconds=HOPS,
        endpoints=("x" * 240 + ":1",) * 8,
        certificate=CERTIFICATE,
        maddrs=LONG_MADDRS[:4],
    )
    with pytest.raises(InvalidRecordError, match="4096"):
        encode(long, IDENTITY)
    shorter = fitting(long)
    kept = list(shorter.next_hop_seconds.items())

    assert 0 < len(kept) < 24
    assert kept == list(HOPS.items())[: len(kept)]
    assert 4096 - 2 * 51 < len(encode(shorter, IDENTITY)) <= 4096
    no_room = replace(long, maddrs=LONG_MADDRS, model_name="é" * 128, public_name="é" * 64)
    assert fitting(no_room).next_hop_seconds == {}


def test_a_peer_cant_sign_for_another() -> None:
    with pytest.raises(InvalidRecordError, match="peer_id"):
        encode(describe(IDENTITY), Identity.ephemeral())


def test_a_record_cant_be_taken_for_another_kind() -> None:
    with pytest.raises(InvalidRecordError):
        decode_listing(encode(describe(IDENTITY), IDENTITY))
