"""Receipts: what a client signs for the work of a server, and the server signs too.

Work is counted in tokens; every token of a session runs through the same layers of the server, and tokens
times layers is what owners are paid for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from p2pinfer.errors import InvalidReceiptError
from p2pinfer.types import SESSION_ID_BYTES, PeerId, SessionId, Span
from p2pinfer.wire.receipt_pb2 import Receipt as ReceiptMessage
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.step_kind import StepKind

VALID_SECONDS = 90 * 86_400.0
"""How long a client lets a receipt be redeemed."""

MAX_TOKENS = 2**62
MAX_LAYERS = 2**20

_CLIENT_DOMAIN = b"p2pinfer receipt 1\0"
_SERVER_DOMAIN = b"p2pinfer countersigned receipt 1\0"

Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes, bytes], bool]
"""`verify(public_key, data, signature)` says whether a signature is genuine."""


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens that went through a server's layers, those of prompts and those of answers apart."""

    prefill_tokens: int = 0
    decode_tokens: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.prefill_tokens + other.prefill_tokens, self.decode_tokens + other.decode_tokens)

    def __sub__(self, other: Work) -> Work:
        return Work(self.prefill_tokens - other.prefill_tokens, self.decode_tokens - other.decode_tokens)

    @property
    def tokens(self) -> int:
        """Of both kinds."""
        return self.prefill_tokens + self.decode_tokens

    def within(self, other: Work) -> bool:
        """True if there is no more of either kind than in `other`."""
        return self.prefill_tokens <= other.prefill_tokens and self.decode_tokens <= other.decode_tokens

    def at_most(self, other: Work) -> Work:
        """Of each kind the smaller number."""
        return Work(
            min(self.prefill_tokens, other.prefill_tokens), min(self.decode_tokens, other.decode_tokens)
        )


def work_of(kind: StepKind, tokens: int) -> Work:
    """How a step of so many tokens counts: as decode if a reader waited for it, as prefill otherwise."""
    return Work(decode_tokens=tokens) if kind.is_urgent else Work(prefill_tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """That a server did this work for a client, all of one session up to now."""

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
        """Tokens of prompts times layers."""
        return self.work.prefill_tokens * len(self.layers)

    @property
    def decode_layer_tokens(self) -> int:
        """Tokens of answers times layers."""
        return self.work.decode_tokens * len(self.layers)


def sign_receipt(receipt: Receipt, sign: Sign) -> SignedReceipt:
    """Put the client's name to it."""
    data = ReceiptMessage(
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
    ).SerializeToString()
    return SignedReceipt(receipt=data, client_signature=sign(_CLIENT_DOMAIN + data))


def countersign(signed: SignedReceipt, sign: Sign) -> SignedReceipt:
    """Put the server's name to it as well. Read and check it first."""
    signature = sign(_SERVER_DOMAIN + signed.receipt + signed.client_signature)
    return SignedReceipt(
        receipt=signed.receipt, client_signature=signed.client_signature, server_signature=signature
    )


def read_receipt(signed: SignedReceipt, verify: Verify) -> Receipt:
    """What the client has signed. Raises InvalidReceiptError if it has not, or if it can't be a receipt."""
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
        raise InvalidReceiptError(f"layers {message.first_layer}:{message.end_layer} can't be")
    if not 1 <= message.sequence < MAX_TOKENS:
        raise InvalidReceiptError("receipts are counted from 1")
    if message.prefill_tokens + message.decode_tokens > MAX_TOKENS:
        raise InvalidReceiptError("more tokens than there can be")
    if not (math.isfinite(message.issued_at) and math.isfinite(message.expires_at)):
        raise InvalidReceiptError("its times are no times")
    return Receipt(
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


def is_countersigned(signed: SignedReceipt, server_public_key: bytes, verify: Verify) -> bool:
    """True if that server has signed it too."""
    data = _SERVER_DOMAIN + signed.receipt + signed.client_signature
    return verify(server_public_key, data, signed.server_signature)
