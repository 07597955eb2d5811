"""Receipts: what was signed is read, and everything else is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import InvalidReceiptError
from p2pinfer.identity import Identity
from p2pinfer.types import PeerId, SessionId, Span
from p2pinfer.wire.receipt_pb2 import Receipt as ReceiptMessage
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import (
    MAX_LAYERS,
    MAX_RECEIPT_BYTES,
    MAX_TOKENS,
    Receipt,
    Work,
    countersign,
    is_countersigned,
    read_countersigned,
    read_receipt,
    sign_receipt,
)

CLIENT, SERVER = Identity.ephemeral(), Identity.ephemeral()
RECEIPT = Receipt(
    session_id=SessionId(bytes(range(16))),
    server=SERVER.peer_id,
    client=CLIENT.public_key,
    model="f" * 64,
    layers=Span(10, 30),
    work=Work(7, 5),
    sequence=3,
    issued_at=1_800_000_000.25,
    expires_at=1_807_776_000.25,
)
SIGNED = countersign(sign_receipt(RECEIPT, CLIENT), SERVER)

counts = st.integers(0, 10**9)
works = st.builds(Work, counts, counts)


def signed_message(**changes: Any) -> SignedReceipt:
    """A message with these changes, signed by CLIENT."""
    message = ReceiptMessage()
    message.ParseFromString(SIGNED.receipt)
    for name, value in changes.items():
        setattr(message, name, value)
    data = message.SerializeToString()
    return SignedReceipt(receipt=data, client_signature=CLIENT.sign(b"p2pinfer receipt 1\0" + data))


def test_what_was_signed_is_read():
    """Every field arrives, and both signatures are good."""
    assert read_receipt(SIGNED) == read_countersigned(SIGNED) == RECEIPT
    assert is_countersigned(SIGNED, SERVER.peer_id)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(b"\x62\x04junk", id="an unknown field"),
        pytest.param(b"\x48\x03", id="a field twice"),
        pytest.param(b"\x10", id="half a field"),
    ],
)
@pytest.mark.parametrize("at", ["front", "end"])
def test_only_the_canonical_form_is_taken(more: bytes, at: str):
    """Though the client has signed the longer one: a ledger would keep it for good."""
    data = more + SIGNED.receipt if at == "front" else SIGNED.receipt + more
    padded = SignedReceipt(receipt=data, client_signature=CLIENT.sign(b"p2pinfer receipt 1\0" + data))

    with pytest.raises(InvalidReceiptError, match=r"canonical form: write each|can't be parsed|names no"):
        read_receipt(padded)


def test_a_number_with_needless_bytes_is_not_canonical():
    """3 as two bytes."""
    data = SIGNED.receipt.replace(b"\x48\x03", b"\x48\x83\x00")
    longer = SignedReceipt(receipt=data, client_signature=CLIENT.sign(b"p2pinfer receipt 1\0" + data))
    assert data != SIGNED.receipt

    with pytest.raises(InvalidReceiptError, match="canonical"):
        read_receipt(longer)


def test_a_receipt_is_short():
    """Its strings can be of any length; the receipt can't."""
    assert len(SIGNED.receipt) < 250 < MAX_RECEIPT_BYTES
    with pytest.raises(InvalidReceiptError, match=r"has [0-9,]+ bytes, and at most 400 are taken"):
        read_receipt(sign_receipt(replace(RECEIPT, model="f" * 400), CLIENT))


def test_it_is_paid_by_tokens_times_layers():
    """Prefill and decode are counted apart."""
    assert (RECEIPT.prefill_layer_tokens, RECEIPT.decode_layer_tokens) == (140, 100)


@settings(max_examples=60)
@given(
    works,
    st.integers(1, MAX_TOKENS - 1),
    st.integers(0, 1000),
    st.integers(1, 1000),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_receipt_survives_the_way(work: Work, sequence: int, start: int, length: int, at: float):
    """Whatever its numbers are."""
    receipt = Receipt(
        session_id=RECEIPT.session_id,
        server=RECEIPT.server,
        client=RECEIPT.client,
        model=RECEIPT.model,
        layers=Span(start, start + length),
        work=work,
        sequence=sequence,
        issued_at=at,
        expires_at=at,
    )

    assert read_receipt(sign_receipt(receipt, CLIENT)) == receipt


@settings(max_examples=100)
@given(st.data())
def test_no_byte_can_be_altered(data: st.DataObject):
    """A change of the receipt or of a signature is found."""
    field = data.draw(st.sampled_from(["receipt", "client_signature", "server_signature"]))
    altered = SignedReceipt.FromString(SIGNED.SerializeToString())
    value = bytearray(getattr(altered, field))
    position = data.draw(st.integers(0, len(value) - 1))
    value[position] ^= data.draw(st.integers(1, 255))
    setattr(altered, field, bytes(value))

    assert not is_countersigned(altered, SERVER.peer_id)
    if field == "server_signature":
        assert read_receipt(altered) == RECEIPT
    else:
        with pytest.raises(InvalidReceiptError):
            read_receipt(altered)


@settings(max_examples=100)
@given(st.binary(max_size=300), st.binary(max_size=70), st.binary(max_size=70))
def test_nothing_else_is_a_receipt(data: bytes, by_client: bytes, by_server: bytes):
    """Any other bytes raise InvalidReceiptError, and nothing else."""
    signed = SignedReceipt(receipt=data, client_signature=by_client, server_signature=by_server)

    with pytest.raises(InvalidReceiptError):
        read_receipt(signed)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"session_id": b"short"}, "no session"),
        ({"server": ""}, "no session and server"),
        ({"first_layer": 30}, "no layers 30:30"),
        ({"end_layer": MAX_LAYERS + 1}, "no layers"),
        ({"sequence": 0}, "counted from 1"),
        ({"sequence": MAX_TOKENS}, "counted from 1"),
        ({"prefill_tokens": MAX_TOKENS}, "more tokens"),
        ({"decode_tokens": 2**64 - 1}, "more tokens"),
        ({"issued_at": math.nan}, "times"),
        ({"expires_at": math.inf}, "times"),
        ({"client_public_key": SERVER.public_key}, "not signed by the client"),
        ({"client_public_key": b""}, "not signed by the client"),
    ],
)
def test_what_cant_be_true_is_no_receipt_even_if_signed(changes: dict[str, Any], reason: str):
    """The client's key doesn't make nonsense acceptable."""
    with pytest.raises(InvalidReceiptError, match=reason):
        read_receipt(signed_message(**changes))


def test_a_signature_stands_for_one_purpose():
    """A client's signature isn't a server's, even if one peer is both."""
    own = sign_receipt(RECEIPT, CLIENT)
    swapped = SignedReceipt(
        receipt=own.receipt, client_signature=own.client_signature, server_signature=own.client_signature
    )
    other_purpose = SignedReceipt(receipt=own.receipt, client_signature=CLIENT.sign(own.receipt))

    assert not is_countersigned(swapped, CLIENT.peer_id)
    assert not is_countersigned(own, SERVER.peer_id)
    with pytest.raises(InvalidReceiptError):
        read_receipt(other_purpose)


@settings(max_examples=100)
@given(
    st.text(max_size=70)
    | st.text("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", min_size=40, max_size=60)
    | st.sampled_from(["", "me", "12D3KooWNobody", CLIENT.peer_id, f"{SERVER.peer_id} ", "é" * 52])
)
def test_no_other_name_stands_for_the_server(name: str):
    """A malformed or differently written peer id is a wrong signature, and never an exception."""
    assert not is_countersigned(SIGNED, name)
    assert not is_countersigned(
        countersign(sign_receipt(replace(RECEIPT, server=PeerId(name)), CLIENT), SERVER), name
    )


def test_a_receipt_without_its_servers_signature_is_not_countersigned():
    """The client's signature alone is enough to read it, but not to count it."""
    for half in (sign_receipt(RECEIPT, CLIENT), countersign(sign_receipt(RECEIPT, CLIENT), CLIENT)):
        assert read_receipt(half) == RECEIPT
        with pytest.raises(InvalidReceiptError, match="not countersigned by the server"):
            read_countersigned(half)


@settings(max_examples=60)
@given(works, works)
def test_work_is_counted_by_kind(one: Work, other: Work):
    """Sums, differences and comparisons keep prefill and decode apart."""
    both = one + other

    assert both - other == one
    assert both.tokens == one.tokens + other.tokens
    assert one.within(both)
    assert one.at_most(other).within(one) and one.at_most(other).within(other)
    assert one.within(other) == (one.at_most(other) == one)
