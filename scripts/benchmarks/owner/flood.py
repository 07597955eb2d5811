"""How fast strangers can fill a ledger: receipts as small as can be, as fast as the disk takes them.

Each receipt is signed, countersigned, and written as a server writes it. What counts is the closed file:
bytes that stay for good. Network and computing are left out: an attacker is slower than this.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from p2pinfer.identity import Identity
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import VALID_SECONDS, Receipt, Work, countersign, sign_receipt

_BATCH = 256
_PADDING = b"\xfa\x7f\xe0\xd4\x03" + bytes(60_000)  # an unknown field
_SERVER = Identity.ephemeral()

Receipts = Iterator[SignedReceipt]


@dataclass(frozen=True, slots=True)
class Growth:
    """What a ledger took of some receipts."""

    receipts: int
    refused: int
    file_bytes: int
    seconds: float


def tiny_sessions() -> Receipts:
    """A session of one token, from a new client each time."""
    for number in count(1):
        client = Identity.ephemeral()
        yield countersign(sign_receipt(_receipt(client, number, Work(1, 0), 1), client), _SERVER)


def padded_sessions() -> Receipts:
    """The same with 60 KB that no field names, signed along with the rest."""
    client = Identity.ephemeral()
    for number in count(1):
        data = sign_receipt(_receipt(client, number, Work(1, 0), 1), client).receipt + _PADDING
        by_client = client.sign(b"p2pinfer receipt 1\0" + data)
        yield countersign(SignedReceipt(receipt=data, client_signature=by_client), _SERVER)


def one_session() -> Receipts:
    """A session that signs for each token."""
    client = Identity.ephemeral()
    for number in count(1):
        yield countersign(sign_receipt(_receipt(client, 1, Work(number, 0), number), client), _SERVER)


FLOODS: dict[str, tuple[Callable[[], Receipts], int]] = {
    "one-token sessions, a new key for each": (tiny_sessions, 25_000),
    "the same, each padded with 60 KB": (padded_sessions, 2_000),
    "a receipt for each token of one session": (one_session, 5_000),
}
"""Receipts, and how many of them at once: twice, because the second half meets a day that is fuller."""


def run_floods() -> dict[str, list[Growth]]:
    """Each flood into a ledger of its own, in two halves."""
    return {words: _run(receipts(), number) for words, (receipts, number) in FLOODS.items()}


def table(floods: dict[str, list[Growth]]) -> str:
    """A line for each half."""
    lines = [f"{'flood':<42}{'receipts':>9}{'refused':>9}{'MB for good':>13}{'kB/s':>9}"]
    for words, halves in floods.items():
        for half in halves:
            lines.append(
                f"{words:<42}{half.receipts:>9,}{half.refused:>9,}{half.file_bytes / 1e6:>13.2f}"
                f"{half.file_bytes / half.seconds / 1e3:>9.1f}"
            )
            words = ""
    return "\n".join(lines)


def as_json(floods: dict[str, list[Growth]]) -> dict[str, Any]:
    """For the file of all values."""
    return {
        words: [
            {"receipts": half.receipts, "refused": half.refused, "bytes": half.file_bytes, "s": half.seconds}
            for half in halves
        ]
        for words, halves in floods.items()
    }


def _run(receipts: Receipts, number: int) -> list[Growth]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        Ledger.open(path).close()
        return [_half(path, islice(receipts, number)) for _ in range(2)]


def _half(path: Path, receipts: Receipts) -> Growth:
    size, refused, taken, seconds = path.stat().st_size, 0, 0, 0.0
    with Ledger.open(path) as ledger:
        while batch := list(islice(receipts, _BATCH)):
            began = time.perf_counter()
            reasons = ledger.add_receipts(batch)
            seconds += time.perf_counter() - began
            refused += sum(reason is not None for reason in reasons)
            taken += len(batch)
    return Growth(taken, refused, path.stat().st_size - size, seconds)


def _receipt(client: Identity, session: int, work: Work, sequence: int) -> Receipt:
    now = time.time()
    return Receipt(
        session_id=SessionId(session.to_bytes(16, "big")),
        server=_SERVER.peer_id,
        client=client.public_key,
        model="a" * 64,
        layers=Span(0, 10),
        work=work,
        sequence=sequence,
        issued_at=now,
        expires_at=now + VALID_SECONDS,
    )
