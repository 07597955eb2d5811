"""How receipts and ended sessions become rows: a new one, a newer receipt in an older one's row, or a sum."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from p2pinfer.errors import LedgerError
from p2pinfer.owner.ledger.acceptance import misstep
from p2pinfer.owner.ledger.worth import Day, folding_start
from p2pinfer.types import PeerId, SessionId, Span, short_id
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Receipt, Work

_FOLD = (
    "UPDATE receipts SET sequence = ?, prefill_tokens = ?, decode_tokens = ?, "
    "added_prefill_tokens = added_prefill_tokens + ?, added_decode_tokens = added_decode_tokens + ?, "
    "issued_at = ?, added_at = max(added_at, ?), receipt = ?, client_signature = ?, server_signature = ? "
    "WHERE id = ?"
)

_ADD_UP = (
    "INSERT INTO small_work VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "sessions = sessions + excluded.sessions, layer_tokens = layer_tokens + excluded.layer_tokens"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What all receipts of one session name."""

    server: PeerId
    session_id: SessionId
    client: bytes
    model: str
    layers: Span

    @property
    def terms(self) -> tuple[object, ...]:
        """What must not differ within a session."""
        return self.client, self.model, self.layers.start, self.layers.end


@dataclass(frozen=True, slots=True)
class Rows:
    """Writes entries, within a transaction of the caller's. `day` counts the rows that it makes."""

    day: Day
    free_bytes: int

    def add_receipt(
        self,
        connection: sqlite3.Connection,
        receipt: Receipt,
        signed: SignedReceipt,
        *,
        before: Work,
        now: float,
    ) -> str | None:
        """Keep a receipt, or add its work up. Returns None, or why it can't follow the session's others."""
        account = Account(
            server=receipt.server,
            session_id=receipt.session_id,
            client=receipt.client,
            model=receipt.model,
            layers=receipt.layers,
        )
        known = _find(connection, account)
        if known is not None and known[1] != account.terms:
            return "an earlier one of this session names another client, model or layers"
        last = None if known is None else _newest(connection, known[0])
        row, sequence, kept, kept_at = last or (0, 0, Work(), 0.0)
        before = Work(
            max(before.prefill_tokens, kept.prefill_tokens), max(before.decode_tokens, kept.decode_tokens)
        )
        if reason := misstep(receipt, sequence, before):
            return reason
        added = receipt.work - before
        has_room = self.day.has_room(receipt.client, receipt.work.tokens, free_bytes=self.free_bytes)
        values = (
            receipt.sequence,
            receipt.work.prefill_tokens,
            receipt.work.decode_tokens,
            added.prefill_tokens,
            added.decode_tokens,
            receipt.issued_at,
            now,
            signed.receipt,
            signed.client_signature,
            signed.server_signature,
        )
        if last is not None and (not has_room or folding_start(now) == folding_start(kept_at)):
            connection.execute(_FOLD, (*values, row))
        elif has_room:
            new = (known[0] if known else _make(connection, account), *values)
            connection.execute("INSERT INTO receipts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", new)
            self.day.add(receipt.client)
        else:
            layer_tokens = added.tokens * len(receipt.layers)
            _add_up(connection, receipt.server, now, sessions=0, layer_tokens=layer_tokens)
        return None

    def add_session(
        self,
        connection: sqlite3.Connection,
        account: Account,
        work: Work,
        signed: Work,
        *,
        started_at: float,
        ended_at: float,
    ) -> None:
        """Note the end of a session, or add it up. Raises LedgerError if it contradicts an entry."""
        known = _find(connection, account)
        if known is None:
            unsigned = (work - signed.at_most(work)).tokens
            has_room = self.day.has_room(account.client, work.tokens, free_bytes=self.free_bytes)
            if signed.tokens or not has_room:  # signed and unknown: its receipts were added up
                layer_tokens = unsigned * len(account.layers)
                _add_up(connection, account.server, ended_at, sessions=1, layer_tokens=layer_tokens)
                return
            number = _make(connection, account)
            self.day.add(account.client)
        else:
            number, terms = known
            if terms != account.terms or _has_ended(connection, number):
                raise LedgerError(
                    f"session {account.session_id.hex()[:8]} of server {short_id(account.server)} is in the "
                    "ledger already, "
                    + ("as another client's" if terms != account.terms else "as one that has ended")
                )
        connection.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)",
            (number, work.prefill_tokens, work.decode_tokens, started_at, ended_at),
        )


def _find(connection: sqlite3.Connection, account: Account) -> tuple[int, tuple[object, ...]] | None:
    """The row of an account, and the terms that it has there."""
    found = connection.execute(
        "SELECT id, client, model, first_layer, end_layer FROM accounts WHERE server = ? AND session_id = ?",
        (account.server, account.session_id),
    ).fetchone()
    return None if found is None else (found[0], tuple(found[1:]))


def _make(connection: sqlite3.Connection, account: Account) -> int:
    made = connection.execute(
        "INSERT INTO accounts VALUES (NULL, ?, ?, ?, ?, ?, ?)",
        (account.server, account.session_id, *account.terms),
    )
    assert made.lastrowid is not None
    return made.lastrowid


def _newest(connection: sqlite3.Connection, account: int) -> tuple[int, int, Work, float] | None:
    """The newest receipt of an account: its row, number and work, and when it was taken."""
    found = connection.execute(
        "SELECT id, sequence, prefill_tokens, decode_tokens, added_at FROM receipts WHERE account = ? "
        "ORDER BY sequence DESC LIMIT 1",
        (account,),
    ).fetchone()
    return None if found is None else (found[0], found[1], Work(found[2], found[3]), found[4])


def _has_ended(connection: sqlite3.Connection, account: int) -> bool:
    return connection.execute("SELECT 1 FROM sessions WHERE account = ?", (account,)).fetchone() is not None


def _add_up(
    connection: sqlite3.Connection, server: PeerId, at: float, *, sessions: int, layer_tokens: int
) -> None:
    connection.execute(_ADD_UP, (server, folding_start(at), sessions, layer_tokens))
