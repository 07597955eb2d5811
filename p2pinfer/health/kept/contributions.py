"""The leaderboard: how much work each server has shown signed receipts for.

Anybody can submit a bundle that `python -m p2pinfer.owner export` wrote. Both signatures of every receipt are
checked, and the newest receipt of each session at a server counts. An expired receipt counts as well: no
sponsor pays for it any more, but the work was done.

A receipt proves that two keys agree. It doesn't prove that two people agree: keys cost nothing, so the owner
of a server can be its client under another key and sign for tokens that were never computed. The number of
clients that have signed for a server can be invented in the same way. So this is a board of thanks, and
nothing is paid by it: payment is between an owner and a sponsor, and sponsors recognize their own signatures.

Invented sessions can fill the board, too. A full board accepts new receipts only for sessions that it knows.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self

from p2pinfer.database import Database
from p2pinfer.errors import InvalidReceiptError, InvalidRecordError
from p2pinfer.health.kept.leaderboard import BOARD, CONTRIBUTIONS, newest_receipt, write
from p2pinfer.health.kept.outcome import Outcome
from p2pinfer.health.kept.setting_aside import open_or_set_aside
from p2pinfer.health.snapshot.plain import clean_text
from p2pinfer.health.snapshot.source import Submission
from p2pinfer.health.snapshot.state import ContributionView
from p2pinfer.identity import peer_id_of
from p2pinfer.owner.ledger.acceptance import first_misstep, misstep
from p2pinfer.owner.statement.bundle import PART_LINES, BundleLine, open_bundle, read_bundle
from p2pinfer.swarm.records.bounds import MAX_LAYERS, check_model
from p2pinfer.types import short_id
from p2pinfer.wire.receipts import Receipt, read_countersigned

MAX_SESSIONS = 1_000_000
MAX_LINES_AT_ONCE = PART_LINES
"""Lines of one bundle: a check takes 0.3 ms, and other bundles wait."""

MAX_SESSION_LAYER_TOKENS = 2**42
"""Weeks of work of a fast server. The sum of a million such sessions fits 64 bits."""

MAX_VIEWS = 100

_BATCH = 256


class Contributions:
    """The leaderboard of one page. Several threads may use it at once; only writes wait for each other."""

    def __init__(self, database: Database, most_sessions: int) -> None:
        """Use `open`."""
        self._database = database
        self._most_sessions = most_sessions
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, most_sessions: int = MAX_SESSIONS) -> Self:
        """Open the file at `path`, or create it. A damaged file is set aside, with a warning.

        Raises DatabaseError, naming the file, if it is of another kind or version, or can't be written.
        """
        return cls(open_or_set_aside(path, CONTRIBUTIONS), most_sessions)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, bundle: BinaryIO | Path, name: str = "this file") -> Submission:
        """Add the receipts of a bundle. Error messages call it `name`. A large bundle takes up to 15 s.

        Raises UsageError if it is no bundle or too large; the receipts before the fault have been added.
        Raises DatabaseError if the file can't be written.
        """
        if isinstance(bundle, Path):
            with open_bundle(bundle) as file:
                return self.submit(file, str(bundle))
        outcome = Outcome()
        with closing(read_bundle(bundle, name)) as lines:
            first = islice(lines, MAX_LINES_AT_ONCE)
            while batch := list(islice(first, _BATCH)):
                checked = [(line.number, _checked(line)) for line in batch]
                with self._lock, self._database.transaction() as connection:
                    for number, receipt in checked:
                        outcome.note(number, self._keep(connection, receipt))
            if next(lines, None) is not None:
                outcome.refuse(
                    f"only the first {MAX_LINES_AT_ONCE:,} receipts were read: send the others separately"
                )
        return outcome.submission()

    def views(self, names: Mapping[str, str]) -> list[ContributionView]:
        """The board: most work first, at most 100 servers. `names` has public names by peer id."""
        with self._lock:
            rows = list(self._database.rows(BOARD, (MAX_VIEWS,)))
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
        """True if the receipt is new, False if it is known, or the reason for a refusal."""
        if isinstance(receipt, str):
            return receipt
        last = newest_receipt(connection, receipt)
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
        write(connection, receipt, last)
        return True


def _checked(line: BundleLine) -> Receipt | str:
    """The receipt if both signatures are good and its figures are possible, else the objection."""
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
