"""Receipts as clients sign them and servers countersign them."""

from __future__ import annotations

from typing import Any

from p2pinfer.identity import Identity
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import VALID_SECONDS, Receipt, Work, countersign, sign_receipt

NOW = 1_800_000_000.0
CLIENT = Identity.ephemeral()
SERVER = Identity.ephemeral()
STRANGER = Identity.ephemeral()
SESSION = SessionId(bytes(range(16)))


def receipt(prefill_tokens: int = 10, decode_tokens: int = 5, **changes: Any) -> Receipt:
    """CLIENT's first receipt for SERVER: layers 10:20, issued at NOW, with `changes`."""
    issued_at = changes.get("issued_at", NOW)
    fields: dict[str, Any] = {
        "session_id": SESSION,
        "server": SERVER.peer_id,
        "client": CLIENT.public_key,
        "model": "a" * 64,
        "layers": Span(10, 20),
        "work": Work(prefill_tokens, decode_tokens),
        "sequence": 1,
        "issued_at": issued_at,
        "expires_at": issued_at + VALID_SECONDS,
    }
    return Receipt(**(fields | changes))


def signed(wanted: Receipt, *, client: Identity = CLIENT, server: Identity = SERVER) -> SignedReceipt:
    """The receipt with the signatures of this client and this server."""
    return countersign(sign_receipt(wanted, client), server)


def chain(*works: Work, **changes: Any) -> list[SignedReceipt]:
    """The receipts of one session, one after the other."""
    return [
        signed(receipt(work=work, sequence=sequence, **changes))
        for sequence, work in enumerate(works, start=1)
    ]
