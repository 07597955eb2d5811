"""The ledger: every receipt, session, interval and change of state of this machine's servers, on the disk.

When an `add_*` has returned, its entry survives a SIGKILL, and a power cut if the disk keeps its promises.
Entries are never deleted. Only a receipt gives way to a newer one of its session, and small work is added up
where a day has too much of it (worth.py). Several servers of one machine may share a ledger.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Self

from p2pinfer.database import Database
from p2pinfer.errors import InvalidReceiptError
from p2pinfer.owner.ledger.entries import EndedSession, SignedWork, SmallWork, Transition
from p2pinfer.owner.ledger.interval import EnergySource, Interval
from p2pinfer.owner.ledger.rows import Account, Rows
from p2pinfer.owner.ledger.schema import LEDGER
from p2pinfer.owner.ledger.worth import LEAST_FREE_BYTES, SECONDS_A_DAY, Day, day_number
from p2pinfer.owner.states import OwnerState
from p2pinfer.plain_text import bytes_in_words
from p2pinfer.types import PeerId, SessionId, Span
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Receipt, Work, read_countersigned

logger = logging.getLogger(__name__)

_ACCOUNT = "accounts.server, session_id, client, model, first_layer, end_layer"

_ROWS_OF_DAY = (
    "SELECT client, count(*) FROM receipts JOIN accounts ON accounts.id = account "
    "WHERE added_at >= ? AND added_at < ? GROUP BY client "
    "UNION ALL SELECT client, count(*) FROM sessions JOIN accounts ON accounts.id = account "
    "WHERE ended_at >= ? AND ended_at < ? "
    "AND NOT EXISTS (SELECT 1 FROM receipts WHERE receipts.account = accounts.id) GROUP BY client"
)


class Ledger:
    """The ledger of one machine. Any thread may use it, one at a time. Every write waits for the disk."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        """Use `open` instead."""
        self._database = database
        self._now = now
        self._day = Day(number=-1)
        self._is_disk_full = False

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], float] = time.time) -> Self:
        """Open the ledger at `path`, or make it.

        Raises LedgerError, which names the file, if it isn't a ledger, is damaged, has another version, or
        can't be written.
        """
        return cls(Database.open(path, LEDGER), now)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_receipts(
        self, receipts: Sequence[SignedReceipt], *, before: Sequence[Work] = ()
    ) -> list[str | None]:
        """Keep the good receipts, in one write. Returns for each: None, or why it was not taken.

        `before` is the work that each one's session was already signed for: of a session with little work,
        the ledger may have kept no receipt. Both signatures are checked again. If it raises LedgerError,
        nothing was written.
        """
        read = [
            _read(signed) for signed in receipts
        ]  # before the write: meanwhile no other process can write
        now = self._now()
        rows = self._rows(now)
        with self._database.transaction() as connection:
            return [
                receipt
                if isinstance(receipt, str)
                else rows.add_receipt(connection, receipt, signed, before=work, now=now)
                for receipt, signed, work in zip(
                    read, receipts, before or [Work()] * len(receipts), strict=True
                )
            ]

    def add_session(
        self,
        *,
        server: PeerId,
        session_id: SessionId,
        client: bytes,
        model: str,
        layers: Span,
        work: Work,
        started_at: float,
        ended_at: float,
        signed: Work | None = None,
    ) -> None:
        """Note a session that has ended, with all its work, and with the part that was signed for.

        Raises LedgerError if it can't be written, or if it contradicts an entry about the same session.
        """
        account = Account(server=server, session_id=session_id, client=client, model=model, layers=layers)
        rows = self._rows(self._now())
        with self._database.transaction() as connection:
            rows.add_session(
                connection, account, work, signed or Work(), started_at=started_at, ended_at=ended_at
            )

    def add_interval(self, interval: Interval) -> None:
        """Note what a server used in an interval. Raises LedgerError if its end is before its start."""
        with self._database.transaction() as connection:
            added = connection.execute(
                "INSERT INTO intervals VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    interval.server,
                    interval.started_at,
                    interval.ended_at,
                    interval.state,
                    interval.joules,
                    interval.energy_source.value,
                    interval.cpu_seconds,
                    interval.price,
                    interval.currency,
                    interval.sent_bytes,
                    interval.received_bytes,
                ),
            )
            if interval.shared_bytes:
                shared = (added.lastrowid, interval.shared_bytes)
                connection.execute("INSERT INTO shared VALUES (?, ?)", shared)

    def add_transition(self, *, server: PeerId, at: float, state: OwnerState, words: str) -> None:
        """Note a server's change to another state, and why."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO transitions VALUES (NULL, ?, ?, ?, ?)", (server, at, state.value, words)
            )

    def receipts(
        self, *, since: float = -math.inf, until: float = math.inf, server: PeerId | None = None
    ) -> Iterator[SignedWork]:
        """The work that the receipts of [since, until), by this machine's clock, added. Oldest first.

        Don't write with this object while you iterate; this holds for all methods that return iterators.
        """
        query = (
            f"SELECT {_ACCOUNT}, added_prefill_tokens, added_decode_tokens, issued_at, added_at "
            "FROM receipts JOIN accounts ON accounts.id = account "
            "WHERE added_at >= ? AND added_at < ? AND (? IS NULL OR server = ?) "
            "ORDER BY added_at, receipts.id"
        )
        for row in self._database.rows(query, (since, until, server, server)):
            peer_id, session_id, client, model, first, end, prefill, decode, issued_at, added_at = row
            yield SignedWork(
                server=peer_id,
                session_id=session_id,
                client=client,
                model=model,
                layers=Span(first, end),
                added=Work(prefill, decode),
                issued_at=issued_at,
                added_at=added_at,
            )

    def signed_tokens(self, *, since: float, most: int) -> list[tuple[bytes, int]]:
        """What clients have signed for since then, in tokens: the last `most`, the last one last."""
        query = (
            "SELECT client, sum(added_prefill_tokens + added_decode_tokens), max(added_at) AS last "
            "FROM receipts JOIN accounts ON account = accounts.id WHERE added_at >= ? "
            "GROUP BY client ORDER BY last DESC LIMIT ?"
        )
        return [(client, tokens) for client, tokens, _ in self._database.rows(query, (since, most))][::-1]

    def newest_receipts(
        self, *, since: float = -math.inf, until: float = math.inf, client: bytes | None = None
    ) -> Generator[SignedReceipt, None, None]:
        """The newest receipt of each session that this client (None: any) signed for in [since, until)."""
        query = (
            "SELECT receipt, client_signature, server_signature "
            "FROM accounts JOIN receipts AS newest ON account = accounts.id "
            "WHERE sequence = (SELECT max(sequence) FROM receipts WHERE account = accounts.id) "
            "AND EXISTS ("
            "SELECT 1 FROM receipts WHERE account = accounts.id AND added_at >= ? AND added_at < ?"
            ") AND (? IS NULL OR client = ?) ORDER BY accounts.id"
        )
        for receipt, by_client, by_server in self._database.rows(query, (since, until, client, client)):
            yield SignedReceipt(receipt=receipt, client_signature=by_client, server_signature=by_server)

    def sessions(
        self, *, since: float = -math.inf, until: float = math.inf, server: PeerId | None = None
    ) -> Iterator[EndedSession]:
        """The sessions that ended in [since, until), oldest first."""
        query = (
            f"SELECT {_ACCOUNT}, sessions.prefill_tokens, sessions.decode_tokens, started_at, ended_at, "
            "ifnull(newest.prefill_tokens, 0), ifnull(newest.decode_tokens, 0) "
            "FROM sessions JOIN accounts ON accounts.id = sessions.account "
            "LEFT JOIN receipts AS newest ON newest.account = accounts.id "
            "AND sequence = (SELECT max(sequence) FROM receipts WHERE account = accounts.id) "
            "WHERE ended_at >= ? AND ended_at < ? AND (? IS NULL OR server = ?) "
            "ORDER BY ended_at, accounts.id"
        )
        for row in self._database.rows(query, (since, until, server, server)):
            peer_id, session_id, client, model, first, end, *work, started_at, ended_at = row[:-2]
            yield EndedSession(
                server=peer_id,
                session_id=session_id,
                client=client,
                model=model,
                layers=Span(first, end),
                work=Work(*work),
                signed=Work(*row[-2:]),
                started_at=started_at,
                ended_at=ended_at,
            )

    def intervals(
        self, *, since: float = -math.inf, until: float = math.inf, server: PeerId | None = None
    ) -> Iterator[Interval]:
        """The intervals that began in [since, until), oldest first."""
        query = (
            "SELECT server, started_at, ended_at, state, joules, energy_source, cpu_seconds, price, "
            "currency, sent_bytes, received_bytes, ifnull(shared_bytes, 0) "
            "FROM intervals LEFT JOIN shared ON interval = id "
            "WHERE started_at >= ? AND started_at < ? AND (? IS NULL OR server = ?) ORDER BY started_at, id"
        )
        for row in self._database.rows(query, (since, until, server, server)):
            peer_id, started_at, ended_at, state, joules, source, cpu, price, currency, *traffic = row
            sent, received, shared = traffic
            yield Interval(
                server=peer_id,
                started_at=started_at,
                ended_at=ended_at,
                state=state,
                joules=joules,
                energy_source=EnergySource(source),
                cpu_seconds=cpu,
                price=price,
                currency=currency,
                sent_bytes=sent,
                received_bytes=received,
                shared_bytes=shared,
            )

    def transitions(
        self, *, since: float = -math.inf, until: float = math.inf, server: PeerId | None = None
    ) -> Iterator[Transition]:
        """The changes of state in [since, until), oldest first."""
        query = (
            "SELECT server, at, state, words FROM transitions "
            "WHERE at >= ? AND at < ? AND (? IS NULL OR server = ?) ORDER BY at, id"
        )
        for peer_id, at, state, words in self._database.rows(query, (since, until, server, server)):
            yield Transition(server=peer_id, at=at, state=OwnerState(state), words=words)

    def traffic_bytes(self, *, since: float) -> int:
        """The bytes that all servers sent and received in the intervals that ended after `since`."""
        query = "SELECT total(sent_bytes + received_bytes) FROM intervals WHERE ended_at > ?"
        [(total,)] = self._database.rows(query, (since,))
        return int(total)

    def shared_bytes(self, *, since: float) -> int:
        """The part of `traffic_bytes` that was files of models, given to others."""
        query = "SELECT total(shared_bytes) FROM intervals JOIN shared ON interval = id WHERE ended_at > ?"
        [(total,)] = self._database.rows(query, (since,))
        return int(total)

    def small_work(
        self, *, since: float = -math.inf, until: float = math.inf, server: PeerId | None = None
    ) -> Iterator[SmallWork]:
        """The work of [since, until) that has no rows of its own, by quarters of an hour. Oldest first."""
        query = (
            "SELECT server, quarter, sessions, layer_tokens FROM small_work "
            "WHERE quarter >= ? AND quarter < ? AND (? IS NULL OR server = ?) ORDER BY quarter, server"
        )
        for peer_id, at, sessions, layer_tokens in self._database.rows(query, (since, until, server, server)):
            yield SmallWork(server=peer_id, at=at, sessions=sessions, layer_tokens=layer_tokens)

    def _rows(self, now: float) -> Rows:
        """The rows of today, and the room for more."""
        number = day_number(now)
        if number != self._day.number:
            day, times = Day(number=number), (number * SECONDS_A_DAY, (number + 1) * SECONDS_A_DAY)
            for client, count in self._database.rows(_ROWS_OF_DAY, (*times, *times)):
                day.add(client, count)
            self._day = day
        return Rows(self._day, self._free_bytes())

    def _free_bytes(self) -> int:
        """The room on the disk; says once when there is too little, and when there is enough again."""
        try:
            free_bytes = shutil.disk_usage(self._database.path.parent).free
        except OSError:  # a write will tell
            return LEAST_FREE_BYTES
        if (free_bytes < LEAST_FREE_BYTES) != self._is_disk_full:
            self._is_disk_full = not self._is_disk_full
            if self._is_disk_full:
                logger.warning(
                    "the disk of %s has less than %s free: receipts of new sessions are not kept, their work "
                    "is only added up. Make room; serving goes on",
                    self._database.path,
                    bytes_in_words(LEAST_FREE_BYTES),
                )
            else:
                logger.warning("the disk of %s has room again: receipts are kept", self._database.path)
        return free_bytes


def _read(signed: SignedReceipt) -> Receipt | str:
    try:
        return read_countersigned(signed)
    except InvalidReceiptError as error:
        return str(error)
