"""The envelope of a record: its format and its proof, before anything else of it is believed."""

from __future__ import annotations

import pytest

from p2pinfer.errors import InvalidRecordError, UnpaidRecordError
from p2pinfer.identity import Identity
from p2pinfer.price import proof
from p2pinfer.price.paying import find_proof
from p2pinfer.swarm import record_pb2
from p2pinfer.swarm.record_pb2 import SignedRecord
from p2pinfer.swarm.records import signed
from p2pinfer.swarm.records.signed import ENVELOPE_BYTES, MAX_RECORD_BYTES, parse_envelope, seal

KIND = record_pb2.RECORD_KIND_SERVER
IDENTITY = Identity.ephemeral()


def changed(identity: Identity = IDENTITY, **fields: object) -> bytes:
    """A record with other fields in its envelope; None takes a field away."""
    record = SignedRecord.FromString(seal(identity, KIND, b"payload"))
    for name, value in fields.items():
        record.ClearField(name) if value is None else setattr(record, name, value)
    return record.SerializeToString(deterministic=True)


async def paid(bits: int) -> Identity:
    identity = Identity.ephemeral()
    identity.proof = await find_proof(identity.public_key, bits)
    return identity


def test_a_record_of_format_1_is_refused_by_name() -> None:
    """It had neither a version nor a proof."""
    with pytest.raises(InvalidRecordError, match="of format 1, and this is format 2: update p2pinfer there"):
        parse_envelope(changed(version=None, proof=None))


def test_a_record_of_a_newer_format_is_refused_by_name_whatever_else_it_has() -> None:
    unknown_field = b"\x7a\x03new"
    with pytest.raises(InvalidRecordError, match="of format 3, and this is format 2: update p2pinfer here"):
        parse_envelope(changed(version=3, proof=b"proof of another kind") + unknown_field)


def test_what_has_neither_version_nor_key_is_no_record_of_format_1() -> None:
    for data in (b"", b"\x0a\x01x"):
        with pytest.raises(InvalidRecordError, match="not a signed record"):
            parse_envelope(data)


def test_a_record_that_tells_its_version_twice_isnt_canonical() -> None:
    with pytest.raises(InvalidRecordError, match="canonical"):
        parse_envelope(changed() + b"\x28\x02")


async def test_a_record_is_worth_what_was_paid_for_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    identity, other = await paid(bits=5), await paid(bits=5)
    monkeypatch.setattr(proof, "PRICE_BITS", 5)
    assert parse_envelope(changed(identity))[1] == identity.peer_id

    monkeypatch.setattr(proof, "PRICE_BITS", 30)
    for data in (changed(identity), changed(identity, proof=other.proof), changed(identity, proof=None)):
        with pytest.raises(UnpaidRecordError, match="nobody has paid"):
            parse_envelope(data)


def test_the_proof_is_looked_at_before_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """And after everything that costs less than it."""
    monkeypatch.setattr(signed, "is_paid", None)

    for cheap in ({"signature": b"short"}, {"public_key": bytes(36)}, {"version": 1}):
        with pytest.raises(InvalidRecordError):
            parse_envelope(changed(**cheap))


def test_an_identity_that_hasnt_paid_signs_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner is told so here, and not by the silence of others."""
    monkeypatch.setattr(proof, "PRICE_BITS", 5)
    stranger = Identity.ephemeral()

    with pytest.raises(InvalidRecordError, match="hasn't paid for its identity"):
        seal(stranger, KIND, b"payload")


def test_the_room_beside_the_payload_is_counted_exactly() -> None:
    longest = bytes(MAX_RECORD_BYTES - ENVELOPE_BYTES)

    assert len(seal(IDENTITY, KIND, longest)) == MAX_RECORD_BYTES
    with pytest.raises(InvalidRecordError, match="at most 4096 bytes, this one has 4097"):
        seal(IDENTITY, KIND, longest + b"x")
