"""The signed envelope around every record: who signed it, and what it is a record of. See record.proto."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from p2pinfer.errors import InvalidRecordError, UnpaidRecordError
from p2pinfer.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, peer_id_of, verify
from p2pinfer.price.proof import is_paid
from p2pinfer.swarm.record_pb2 import RecordKind, SignedRecord
from p2pinfer.types import PeerId

MAX_RECORD_BYTES = 4096
RECORD_FORMAT = 2
"""Format 1 had no version, and its signers paid nothing. Each format refuses the others by name."""
ENVELOPE_BYTES = 121
"""What a record of the greatest length has beside its payload: key, signature, proof, and their tags."""
MAX_LIFETIME_SECONDS = 600.0

_DOMAIN = b"p2pinfer swarm record 2\0"


def seal(identity: Identity, kind: RecordKind, payload: bytes) -> bytes:
    """Sign `payload` as a record of a kind.

    Raises InvalidRecordError if the record is longer than 4096 bytes, or the identity hasn't paid.
    """
    if not identity.proof:
        raise InvalidRecordError(
            f"{identity.peer_id} hasn't paid for its identity: only a reader needs no proof"
        )
    record = SignedRecord(
        payload=payload,
        public_key=identity.public_key,
        signature=identity.sign(_signed_bytes(kind, identity.proof, payload)),
        kind=kind,
        version=RECORD_FORMAT,
        proof=identity.proof,
    )
    data: bytes = record.SerializeToString(deterministic=True)
    if len(data) > MAX_RECORD_BYTES:
        raise InvalidRecordError(f"a record has at most {MAX_RECORD_BYTES} bytes, this one has {len(data)}")
    return data


def parse_envelope(data: bytes) -> tuple[SignedRecord, PeerId]:
    """Read the envelope, and the peer id of the public key in it. The signature isn't verified here.

    Raises InvalidRecordError for bytes that `seal` wouldn't have written, and names both formats for a record
    of another one.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise InvalidRecordError(f"a record has at most {MAX_RECORD_BYTES} bytes, this one has {len(data)}")
    record = SignedRecord()
    try:
        record.ParseFromString(data)
    except DecodeError as error:
        raise InvalidRecordError("not a signed record") from error
    if record.version != RECORD_FORMAT:  # before the form: a newer format may have more fields
        raise InvalidRecordError(_other_format(record))
    record.DiscardUnknownFields()  # type: ignore[no-untyped-call, unused-ignore]
    if record.SerializeToString(deterministic=True) != data:
        raise InvalidRecordError("a record in a form that isn't canonical")
    if len(record.signature) != SIGNATURE_BYTES:
        raise InvalidRecordError("a record without a signature")
    try:
        peer_id = peer_id_of(record.public_key)
    except ValueError as error:
        raise InvalidRecordError(f"a record whose public key is {error}") from error
    if not is_paid(record.public_key, record.proof):
        raise UnpaidRecordError("a record of an identity for which nobody has paid")
    return record, peer_id


def check_signature(record: SignedRecord) -> None:
    """Raise InvalidRecordError unless the record's signature is that of its public key."""
    signed = _signed_bytes(record.kind, record.proof, record.payload)
    if not verify(record.public_key, signed, record.signature):
        raise InvalidRecordError("a record whose signature is wrong")


def _other_format(record: SignedRecord) -> str:
    """What to say of a record that isn't of this format, or isn't one at all."""
    if record.version:
        older = "there" if record.version < RECORD_FORMAT else "here"
        return f"a record of format {record.version}, and this is format 2: update p2pinfer {older}"
    if len(record.public_key) != PUBLIC_KEY_BYTES or len(record.signature) != SIGNATURE_BYTES:
        return "not a signed record"
    return "a record of format 1, and this is format 2: update p2pinfer there"


def _signed_bytes(kind: RecordKind, proof: bytes, payload: bytes) -> bytes:
    return _DOMAIN + bytes([kind & 0xFF]) + proof + payload
