"""The leaderboard: who has shown signed receipts for how much work.

Anybody hands in a bundle that `python -m p2pinfer.owner export` wrote. Both signatures of every receipt are
checked, and of each session at a server the newest counts. One that has expired counts as well: no sponsor
pays for it any more, but the work was done.

What this can't prove: that anybody wanted the work. Keys cost nothing, so that whoever runs a server can be
his own client under another key, and sign for tokens that were never computed. A receipt says that two keys
agree, not that they belong to two people. A server's line also says how many clients have signed, which can
be made up no less. It is a board of thanks, not of accounts: what is owed is between an owner and a sponsor
who knows his own signatures.

Nor can it keep out who fills it with sessions that never were: when it is full, it takes those that it knows
and no new ones.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self

from p2pinfer.database import Database, Kind
from p2pinfer.errors import InvalidReceiptError, InvalidRecordError
from p2pinfer.health.kept.setting_aside import open_or_set_aside
from p2pinfer.health.snapshot.plain import clean_text
from p2pinfer.health.snapshot.source import Submission
from p2pinfer.health.snapshot.state import ContributionView
from p2pinfer.identity import peer_id_of
from p2pinfer.owner.ledger.acceptance import first_misstep, misstep
from p2pinfer.owner.statement.bundle import BundleLine, open_bundle, read_bundle
from p2pinfer.swarm.records.bounds import MAX_LAYERS, check_model
from p2pinfer.types import short_id
from p2pinfer.wire.receipts import Receipt, Work, read_countersigned

MAX_SESSIONS = 1_000_000
MAX_LINES_AT_ONCE = 50_000
"""Of one bundle: to check a line takes 0.3 ms, and others wait."""

MAX_SESSION_LAYER_TOKENS = 2**42
"""Weeks of a fast server. A million sessions of it can be added up in 64 bits."""

MAX_VIEWS = 100

_MAX_REASONS = 10
_BATCH = 256

_TABLES = """
-- Of each session at a server the newest receipt, in figures. Who owes for it, and for which layers of which
-- model, all of its receipts say alike.
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

-- Their sums: the board is asked for every few seconds.
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

CONTRIBUTIONS = Kind(
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

_BOARD = """
SELECT server, prefill_layer_tokens, decode_layer_tokens, sponsors FROM servers
ORDER BY prefill_layer_tokens + decode_layer_tokens DESC, server LIMIT ?
"""


class Contributions:
    """One page's. Any thread may use it, several at once: they wait for each other's writes only."""

    def __init__(self, database: Database, most_sessions: int) -> None:
        """For `open`."""
        self._database = database
        self._most_sessions = most_sessions
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, most_sessions: int = MAX_SESSIONS) -> Self:
        """Open the file at `path`, or make it; a damaged one is set aside, with a warning.

        Raises DatabaseError, naming the file, if it is something else, newer, or can't be written.
        """
        return cls(open_or_set_aside(path, CONTRIBUTIONS), most_sessions)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, bundle: BinaryIO | Path, name: str = "this file") -> Submission:
        """Take the receipts of a bundle; `name` is what errors call it. Up to 15 s for a large one.

        Raises UsageError if it is no bundle or too large: what was read before has been taken. Raises
        DatabaseError if it can't be written.
        """
        if isinstance(bundle, Path):
            with open_bundle(bundle) as file:
                return self.submit(file, str(bundle))
        outcome = _Outcome()
        with closing(read_bundle(bundle, name)) as lines:
            first = islice(lines, MAX_LINES_AT_ONCE)
            while batch := list(islice(first, _BATCH)):
                checked = [(line.number, _checked(line)) for line in batch]
                with self._lock, self._database.transaction() as connection:
                    for number, receipt in checked:
                        outcome.note(number, self._keep(connection, receipt))
            if next(lines, None) is not None:
                outcome.refuse(
                    f"only the first {MAX_LINES_AT_ONCE:,} receipts were read: send the rest apart"
                )
        return outcome.submission()

    def views(self, names: Mapping[str, str]) -> list[ContributionView]:
        """The board: most work first, at most 100; `names` are servers' public names by peer id."""
        with self._lock:
            rows = list(self._database.rows(_BOARD, (MAX_VIEWS,)))
        return [
            ContributionView(
                peer_id=server,
                short_id=short_id(server),
                public_name=clean_text(names.get(server, "")),
                prefill_layer_tokens=prefill,
                decode_layer_tokens=decode,
                sponsors=sponsors,
            )
            for server, prefill, decode, sponsors in rows
        ]

    def _keep(self, connection: sqlite3.Connection, receipt: Receipt | str) -> str | bool:
        """True if it is new, False if it was known, or why it isn't taken."""
        if isinstance(receipt, str):
            return receipt
        last = _last(connection, receipt)
        if last is None:
            [sessions] = connection.execute("SELECT sessions FROM total").fetchone()
            if sessions >= self._most_sessions:
                return "this leaderboard is full"
            connection.execute("UPDATE total SET sessions = sessions + 1")
        elif last.terms != (receipt.client, receipt.model, receipt.layers.start, receipt.layers.end):
            return "another receipt of the same session names another client, model or layers"
        elif receipt.sequence <= last.sequence:
            return False
        elif words := misstep(receipt, last.sequence, last.work):
            return words
        _write(connection, receipt, last)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Last:
    """The newest receipt of a session that is here."""

    terms: tuple[bytes, str, int, int]  # client, model, layers [start, end)
    sequence: int
    work: Work


@dataclass(slots=True)
class _Outcome:
    """What came of a bundle so far."""

    taken: int = 0
    known: int = 0
    reasons: list[str] = field(default_factory=list)
    refused: int = 0

    def note(self, line: int, kept: str | bool) -> None:
        if isinstance(kept, str):
            self.refuse(f"line {line}: {kept}")
        elif kept:
            self.taken += 1
        else:
            self.known += 1

    def refuse(self, words: str) -> None:
        self.refused += 1
        if len(self.reasons) < _MAX_REASONS:
            self.reasons.append(clean_text(words, 200))

    def submission(self) -> Submission:
        more = self.refused - len(self.reasons)
        last = (f"and {more:,} more",) if more else ()
        return Submission(taken=self.taken, known=self.known, refused=(*self.reasons, *last))


def _checked(line: BundleLine) -> Receipt | str:
    """The receipt, with both signatures good and nothing absurd in it; or what is wrong with it."""
    if line.signed is None:
        return line.problem
    try:
        receipt = read_countersigned(line.signed)
        check_model(receipt.model)
    except (InvalidReceiptError, InvalidRecordError) as error:
        return str(error)
    return _objection(receipt) or receipt


def _objection(receipt: Receipt) -> str | None:
    if peer_id_of(receipt.client) == receipt.server:
        return "the server has signed for itself"
    if receipt.layers.end > MAX_LAYERS:
        return f"layers {receipt.layers} can't be"
    if receipt.prefill_layer_tokens + receipt.decode_layer_tokens > MAX_SESSION_LAYER_TOKENS:
        return "more work than one session can be"
    return first_misstep(receipt)


def _last(connection: sqlite3.Connection, receipt: Receipt) -> _Last | None:
    row = connection.execute(
        "SELECT client, model, first_layer, end_layer, sequence, prefill_tokens, decode_tokens "
        "FROM sessions WHERE server = ? AND session_id = ?",
        (receipt.server, receipt.session_id),
    ).fetchone()
    if row is None:
        return None
    client, model, first, end, sequence, prefill, decode = row
    return _Last(terms=(client, model, first, end), sequence=sequence, work=Work(prefill, decode))


def _write(connection: sqlite3.Connection, receipt: Receipt, last: _Last | None) -> None:
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
