"""The leaderboard's file: its tables, and how one receipt changes them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from p2pinfer.database import FileKind
from p2pinfer.wire.receipts import Receipt, Work

_TABLES = """
-- The newest receipt of each session at a server. All receipts of a session name the same client, model and
-- layers.
CREATE TABLE sessions (
    server TEXT NOT NULL,
    session_id BLOB NOT NULL,
    client BLOB NOT NULL,
    model TEXT NOT NULL,
    first_layer INTEGER NOT NULL,
    end_layer INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    prefill_tokens INTEGER NOT NULL,
    decode_tokens INTEGER NOT NULL,
    PRIMARY KEY (server, session_id)
) STRICT, WITHOUT ROWID;

-- Sums of `sessions`, because the board is read every few seconds.
CREATE TABLE servers (
    server TEXT PRIMARY KEY,
    prefill_layer_tokens INTEGER NOT NULL,
    decode_layer_tokens INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    sponsors INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX servers_by_work ON servers (prefill_layer_tokens + decode_layer_tokens DESC, server);

CREATE TABLE sponsors (
    server TEXT NOT NULL,
    client BLOB NOT NULL,
    PRIMARY KEY (server, client)
) STRICT, WITHOUT ROWID;

CREATE TABLE total (sessions INTEGER NOT NULL) STRICT;
INSERT INTO total VALUES (0);
"""

CONTRIBUTIONS = FileKind(
    name="leaderboard",
    application_id=0x70326331,  # "p2c1"
    version=1,
    schema=_TABLES,
)

_KEEP = """
INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    sequence = excluded.sequence,
    prefill_tokens = excluded.prefill_tokens,
    decode_tokens = excluded.decode_tokens
"""

_CREDIT = """
INSERT INTO servers VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    prefill_layer_tokens = prefill_layer_tokens + excluded.prefill_layer_tokens,
    decode_layer_tokens = decode_layer_tokens + excluded.decode_layer_tokens,
    sessions = sessions + excluded.sessions,
    sponsors = sponsors + excluded.sponsors
"""

BOARD = """
SELECT server, prefill_layer_tokens, decode_layer_tokens, sponsors FROM servers
ORDER BY prefill_layer_tokens + decode_layer_tokens DESC, server LIMIT ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestReceipt:
    """The newest receipt of a session that the file has."""

    terms: tuple[bytes, str, int, int]  # client, model, layers [start, end)
    sequence: int
    work: Work


def newest_receipt(connection: sqlite3.Connection, receipt: Receipt) -> NewestReceipt | None:
    """The newest receipt of the same session at the same server."""
    row = connection.execute(
        "SELECT client, model, first_layer, end_layer, sequence, prefill_tokens, decode_tokens "
        "FROM sessions WHERE server = ? AND session_id = ?",
        (receipt.server, receipt.session_id),
    ).fetchone()
    if row is None:
        return None
    client, model, first, end, sequence, prefill, decode = row
    return NewestReceipt(terms=(client, model, first, end), sequence=sequence, work=Work(prefill, decode))


def write(connection: sqlite3.Connection, receipt: Receipt, last: NewestReceipt | None) -> None:
    """Replace `last`, the session\'s newest receipt, and add the difference to the server\'s sums."""
    added = receipt.work - last.work if last else receipt.work
    layers = receipt.layers
    connection.execute(
        _KEEP,
        (
            receipt.server,
            receipt.session_id,
            receipt.client,
            receipt.model,
            layers.start,
            layers.end,
            receipt.sequence,
            receipt.work.prefill_tokens,
            receipt.work.decode_tokens,
        ),
    )
    new_sponsors = connection.execute(
        "INSERT INTO sponsors VALUES (?, ?) ON CONFLICT DO NOTHING", (receipt.server, receipt.client)
    ).rowcount
    connection.execute(
        _CREDIT,
        (
            receipt.server,
            added.prefill_tokens * len(layers),
            added.decode_tokens * len(layers),
            int(last is None),
            new_sponsors,
        ),
    )
