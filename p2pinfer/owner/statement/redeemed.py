"""What a sponsor has paid for, kept for good: work is paid once, however often it is submitted."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from p2pinfer.database import Database, FileKind
from p2pinfer.owner.ledger.schema import append_only
from p2pinfer.owner.statement.redemption import Claim, ClaimVerdict, Paid, settle
from p2pinfer.types import Span
from p2pinfer.wire.receipts import Receipt, Work

_TABLES = """
-- Paid receipts, with both signatures. Tokens count from the session's start; a row pays for what it has more
-- than the row before it of the same session.
CREATE TABLE payments (
    id INTEGER PRIMARY KEY,
    server TEXT NOT NULL,
    session_id BLOB NOT NULL,
    client BLOB NOT NULL,
    model TEXT NOT NULL,
    first_layer INTEGER NOT NULL,
    end_layer INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    prefill_tokens INTEGER NOT NULL,
    decode_tokens INTEGER NOT NULL,
    redeemed_at REAL NOT NULL,
    currency TEXT, -- NULL: there were no rates, so that work was only counted
    amount TEXT,
    receipt BLOB NOT NULL,
    client_signature BLOB NOT NULL,
    server_signature BLOB NOT NULL,
    UNIQUE (server, session_id, sequence)
) STRICT;
"""

REDEEMED = FileKind(
    name="list of redeemed receipts",
    application_id=0x70327231,  # "p2r1"
    version=1,
    schema=_TABLES + append_only("payments"),
)


class Redeemed:
    """The payments of a sponsor. Several processes may share it. Keep one only: a second one pays again."""

    def __init__(self, database: Database) -> None:
        """Use `open` or `rehearse` instead."""
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file at `path`, or make it. Raises DatabaseError, which names the file."""
        return cls(Database.open(path, REDEEMED))

    @classmethod
    def rehearse(cls, path: Path) -> Self:
        """A temporary copy of the file at `path`, for a dry run."""
        return cls(Database.copy_of(path, REDEEMED))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def pay(self, claims: Sequence[Claim], *, now: float) -> list[Claim]:
        """Settle claims in order, and remember the claims to pay, all in one write.

        When this returns they are on the disk. If it raises DatabaseError, none of them is paid.
        """
        with self._database.transaction() as connection:
            settled = []
            for claim in claims:
                paid = _paid(connection, claim.receipt) if claim.receipt else None
                settled.append(settle(claim, paid))
                if settled[-1].verdict is ClaimVerdict.VALID:
                    _remember(connection, settled[-1], now)
            return settled


def _paid(connection: sqlite3.Connection, receipt: Receipt) -> Paid | None:
    row = connection.execute(
        "SELECT client, model, first_layer, end_layer, prefill_tokens, decode_tokens, sequence, redeemed_at "
        "FROM payments WHERE server = ? AND session_id = ? ORDER BY sequence DESC LIMIT 1",
        (receipt.server, receipt.session_id),
    ).fetchone()
    if row is None:
        return None
    client, model, first, end, prefill, decode, sequence, redeemed_at = row
    return Paid(
        client=client,
        model=model,
        layers=Span(first, end),
        work=Work(prefill, decode),
        sequence=sequence,
        redeemed_at=redeemed_at,
    )


def _remember(connection: sqlite3.Connection, claim: Claim, now: float) -> None:
    receipt, signed = claim.receipt, claim.signed
    assert receipt is not None
    assert signed is not None
    connection.execute(
        "INSERT INTO payments VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            receipt.server,
            receipt.session_id,
            receipt.client,
            receipt.model,
            receipt.layers.start,
            receipt.layers.end,
            receipt.sequence,
            receipt.work.prefill_tokens,
            receipt.work.decode_tokens,
            now,
            claim.rate.currency if claim.rate else None,
            str(claim.amount) if claim.amount is not None else None,
            signed.receipt,
            signed.client_signature,
            signed.server_signature,
        ),
    )
