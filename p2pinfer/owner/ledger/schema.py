"""The ledger's tables. Rows are added, never deleted; triggers see to it.

Two kinds of rows may also grow: a receipt gives way to a newer one of its session, which covers it, and the
sums of small work.
"""

from __future__ import annotations

from collections.abc import Iterator

from p2pinfer.database import FileKind
from p2pinfer.errors import LedgerError

_TABLES = """
-- The account of a session: all receipts of the session must name the same client, model and layers.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    server TEXT NOT NULL,
    session_id BLOB NOT NULL,
    client BLOB NOT NULL,
    model TEXT NOT NULL,
    first_layer INTEGER NOT NULL,
    end_layer INTEGER NOT NULL CHECK (end_layer > first_layer),
    UNIQUE (server, session_id)
) STRICT;

-- Receipts as they were taken. Tokens count from the session's start; added_* is what this receipt added.
CREATE TABLE receipts (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts (id),
    sequence INTEGER NOT NULL,
    prefill_tokens INTEGER NOT NULL CHECK (prefill_tokens >= added_prefill_tokens),
    decode_tokens INTEGER NOT NULL CHECK (decode_tokens >= added_decode_tokens),
    added_prefill_tokens INTEGER NOT NULL CHECK (added_prefill_tokens >= 0),
    added_decode_tokens INTEGER NOT NULL CHECK (added_decode_tokens >= 0),
    issued_at REAL NOT NULL,
    added_at REAL NOT NULL,
    receipt BLOB NOT NULL,
    client_signature BLOB NOT NULL,
    server_signature BLOB NOT NULL,
    UNIQUE (account, sequence)
) STRICT;
CREATE INDEX receipts_by_time ON receipts (added_at);

-- Sessions that have ended, with the work that was done.
CREATE TABLE sessions (
    account INTEGER PRIMARY KEY REFERENCES accounts (id),
    prefill_tokens INTEGER NOT NULL CHECK (prefill_tokens >= 0),
    decode_tokens INTEGER NOT NULL CHECK (decode_tokens >= 0),
    started_at REAL NOT NULL,
    ended_at REAL NOT NULL
) STRICT;
CREATE INDEX sessions_by_time ON sessions (ended_at);

CREATE TABLE intervals (
    id INTEGER PRIMARY KEY,
    server TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL NOT NULL CHECK (ended_at >= started_at),
    state TEXT NOT NULL,
    joules REAL NOT NULL,
    energy_source TEXT NOT NULL,
    cpu_seconds REAL NOT NULL,
    price REAL,
    currency TEXT NOT NULL,
    sent_bytes INTEGER NOT NULL,
    received_bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX intervals_by_time ON intervals (started_at);
-- The traffic of a month is asked for again and again: this index alone tells it.
CREATE INDEX intervals_traffic ON intervals (ended_at, sent_bytes, received_bytes);

CREATE TABLE transitions (
    id INTEGER PRIMARY KEY,
    server TEXT NOT NULL,
    at REAL NOT NULL,
    state TEXT NOT NULL,
    words TEXT NOT NULL
) STRICT;
CREATE INDEX transitions_by_time ON transitions (at);

CREATE TRIGGER receipts_grow BEFORE INSERT ON receipts
WHEN EXISTS (
    SELECT 1 FROM receipts
    WHERE account = NEW.account
    AND (sequence >= NEW.sequence OR prefill_tokens > NEW.prefill_tokens OR decode_tokens > NEW.decode_tokens)
)
BEGIN SELECT RAISE(ABORT, 'receipts of a session only grow'); END;
"""


def append_only(*tables: str) -> str:
    """SQL for triggers that refuse changes and deletions in these tables."""
    return "\n".join(f"{trigger};" for table in tables for trigger in _append_only(table))


def _append_only(table: str) -> Iterator[str]:
    yield _refusing("UPDATE", table)
    yield _refusing("DELETE", table)


def _refusing(verb: str, table: str) -> str:
    return (
        f"CREATE TRIGGER {table}_stay_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} are only added'); END"
    )


_SHARED = """
-- Of the sent bytes of an interval, those of model files that were given to others. No row: none.
CREATE TABLE shared (
    interval INTEGER PRIMARY KEY REFERENCES intervals (id),
    shared_bytes INTEGER NOT NULL CHECK (shared_bytes > 0)
) STRICT
"""
"""Not a column of intervals: a server of the last release that still runs goes on writing these."""

_FOLDED = (
    """
CREATE TRIGGER receipts_fold BEFORE UPDATE ON receipts
WHEN NOT (
    NEW.account = OLD.account AND NEW.sequence > OLD.sequence AND NEW.added_at >= OLD.added_at
    AND NEW.prefill_tokens >= OLD.prefill_tokens AND NEW.decode_tokens >= OLD.decode_tokens
    AND NEW.added_prefill_tokens >= OLD.added_prefill_tokens
    AND NEW.added_decode_tokens >= OLD.added_decode_tokens
)
BEGIN SELECT RAISE(ABORT, 'receipts of a session only grow'); END""",
    """
-- Work without rows of its own, in tokens times layers, by quarters of an hour (Unix seconds of the start).
CREATE TABLE small_work (
    server TEXT NOT NULL,
    quarter INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    layer_tokens INTEGER NOT NULL,
    PRIMARY KEY (server, quarter)
) STRICT, WITHOUT ROWID""",
    """
CREATE TRIGGER small_work_grows BEFORE UPDATE ON small_work
WHEN NOT (
    NEW.server = OLD.server AND NEW.quarter = OLD.quarter
    AND NEW.sessions >= OLD.sessions AND NEW.layer_tokens >= OLD.layer_tokens
)
BEGIN SELECT RAISE(ABORT, 'small work only grows'); END""",
    _refusing("DELETE", "small_work"),
)

LEDGER = FileKind(
    name="ledger",
    application_id=0x70326C31,  # "p2l1"
    version=3,
    error=LedgerError,
    schema=_TABLES
    + append_only("accounts", "sessions", "intervals", "transitions")
    + f"{_refusing('DELETE', 'receipts')};{_SHARED};"
    + append_only("shared")
    + "".join(f"{statement};" for statement in _FOLDED),
    upgrades={
        1: (_SHARED, *_append_only("shared")),
        2: ("DROP TRIGGER receipts_stay_update", *_FOLDED),
    },
)
