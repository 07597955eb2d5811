"""Receipts: a client signs for the work that a server has done, and the server countersigns.

A receipt counts tokens. Every token of a session runs through the same layers of the server, and owners are
paid for tokens times layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from p2pinfer.errors import InvalidReceiptError
from p2pinfer.identity import Identity, peer_id_of, public_key_of, verify
from p2pinfer.types import SESSION_ID_BYTES, PeerId, SessionId, Span
from p2pinfer.wire.receipt_pb2 import Receipt as ReceiptMessage
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.step_kind import StepKind

VALID_SECONDS = 90 * 86_400.0
"""From the moment that a client signs a receipt to the last moment at which it can be redeemed."""

MAX_TOKENS = 2**62
MAX_LAYERS = 2**20

MAX_RECEIPT_BYTES = 400
"""Of the signed bytes. A receipt of p2pinfer has about 220; servers keep it for good."""

_CLIENT_DOMAIN = b"p2pinfer receipt 1\0"
_SERVER_DOMAIN = b"p2pinfer countersigned receipt 1\0"


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens that went through a server's layers; prompts (prefill) and answers (decode) count apart."""

    prefill_tokens: int = 0
    decode_tokens: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.prefill_tokens + other.prefill_tokens, self.decode_tokens + other.decode_tokens)

    def __sub__(self, other: Work) -> Work:
        return Work(self.prefill_tokens - other.prefill_tokens, self.decode_tokens - other.decode_tokens)

    @property
    def tokens(self) -> int:
        """Prefill and decode together."""
        return self.prefill_tokens + self.decode_tokens

    def within(self, other: Work) -> bool:
        """True if neither count is larger than in `other`."""
        return self.prefill_tokens <= other.prefill_tokens and self.decode_tokens <= other.decode_tokens

    def at_most(self, other: Work) -> Work:
        """The smaller count of each kind."""
        return Work(
            min(self.prefill_tokens, other.prefill_tokens), min(self.decode_tokens, other.decode_tokens)
        )


def work_of(kind: StepKind, tokens: int) -> Work:
    """How a step counts: as decode if a reader waits for its tokens, as prefill otherwise."""
    return Work(decode_tokens=tokens) if kind.is_urgent else Work(prefill_tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A client's statement: this server has done this work in one session, from its start until now."""

    session_id: SessionId
    server: PeerId
    client: bytes  # public key, libp2p encoding
    model: str  # manifest hash
    layers: Span
    work: Work
    sequence: int
    issued_at: float
    expires_at: float

    @property
    def prefill_layer_tokens(self) -> int:
        """Prefill tokens times layers."""
        return self.work.prefill_tokens * len(self.layers)

    @property
    def decode_layer_tokens(self) -> int:
        """Decode tokens times layers."""
        return self.work.decode_tokens * len(self.layers)


def sign_receipt(receipt: Receipt, client: Identity) -> SignedReceipt:
    """The receipt with the client's signature."""
    data = _canonical(receipt)
    return SignedReceipt(receipt=data, client_signature=client.sign(_CLIENT_DOMAIN + data))


def countersign(signed: SignedReceipt, server: Identity) -> SignedReceipt:
    """The receipt with the server's signature added. Read and check the receipt first."""
    signature = server.sign(_SERVER_DOMAIN + signed.receipt + signed.client_signature)
    return SignedReceipt(
        receipt=signed.receipt, client_signature=signed.client_signature, server_signature=signature
    )


def read_receipt(signed: SignedReceipt) -> Receipt:
    """What the client has signed; the server's signature is not looked at.

    Raises InvalidReceiptError if the client's signature is wrong, if a value is out of range, or if the bytes
    are not the only ones that say this: receipts are kept for good, and must carry nothing else.
    """
    if len(signed.receipt) > MAX_RECEIPT_BYTES:
        raise InvalidReceiptError(
            f"it has {len(signed.receipt):,} bytes, and at most {MAX_RECEIPT_BYTES} are taken: "
            "leave out what the protocol doesn't name"
        )
    message = ReceiptMessage()
    try:
        message.ParseFromString(signed.receipt)
    except DecodeError as error:
        raise InvalidReceiptError("it can't be parsed") from error
    if not verify(message.client_public_key, _CLIENT_DOMAIN + signed.receipt, signed.client_signature):
        raise InvalidReceiptError("it is not signed by the client that it names")
    if len(message.session_id) != SESSION_ID_BYTES or not message.server:
        raise InvalidReceiptError("it names no session and server")
    if not message.first_layer < message.end_layer <= MAX_LAYERS:
        raise InvalidReceiptError(f"there are no layers {message.first_layer}:{message.end_layer}")
    if not 1 <= message.sequence < MAX_TOKENS:
        raise InvalidReceiptError(f"it has the number {message.sequence}, but receipts are counted from 1")
    if message.prefill_tokens + message.decode_tokens > MAX_TOKENS:
        raise InvalidReceiptError("it is for more tokens than there can be")
    if not (math.isfinite(message.issued_at) and math.isfinite(message.expires_at)):
        raise InvalidReceiptError("its times are not finite numbers")
    receipt = Receipt(
        session_id=SessionId(message.session_id),
        server=PeerId(message.server),
        client=message.client_public_key,
        model=message.model,
        layers=Span(message.first_layer, message.end_layer),
        work=Work(message.prefill_tokens, message.decode_tokens),
        sequence=message.sequence,
        issued_at=message.issued_at,
        expires_at=message.expires_at,
    )
    if _canonical(receipt) != signed.receipt:
        raise InvalidReceiptError(
            "it is not in its canonical form: write each field once, by its number, and no others"
        )
    return receipt


def _canonical(receipt: Receipt) -> bytes:
    """The only serialization of a receipt that is taken: its fields by their numbers, and no others."""
    return ReceiptMessage(
        session_id=receipt.session_id,
        server=receipt.server,
        client_public_key=receipt.client,
        model=receipt.model,
        first_layer=receipt.layers.start,
        end_layer=receipt.layers.end,
        prefill_tokens=receipt.work.prefill_tokens,
        decode_tokens=receipt.work.decode_tokens,
        sequence=receipt.sequence,
        issued_at=receipt.issued_at,
        expires_at=receipt.expires_at,
    ).SerializeToString(deterministic=True)


def read_countersigned(signed: SignedReceipt) -> Receipt:
    """What the client has signed and the server has countersigned.

    Raises InvalidReceiptError as `read_receipt` does, and if the server's signature is missing or wrong.
    """
    receipt = read_receipt(signed)
    if not is_countersigned(signed, receipt.server):
        raise InvalidReceiptError("it is not countersigned by the server that it names")
    return receipt


def is_countersigned(signed: SignedReceipt, server: str) -> bool:
    """True if the server with this peer id has countersigned the receipt. Never raises.

    False for every text that is not exactly a peer id, also for a peer id with blanks around it: the same
    server must not appear under two names.
    """
    try:
        public_key = public_key_of(server)
    except ValueError:
        return False
    data = _SERVER_DOMAIN + signed.receipt + signed.client_signature
    return peer_id_of(public_key) == server and verify(public_key, data, signed.server_signature)
