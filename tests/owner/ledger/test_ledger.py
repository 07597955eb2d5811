"""What the ledger takes, keeps, and gives back."""

from __future__ import annotations

import math
import sqlite3
import stat
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from p2pinfer import database
from p2pinfer.database import Database
from p2pinfer.errors import LedgerError
from p2pinfer.owner.ledger.interval import EnergySource, Interval
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.ledger.schema import LEDGER
from p2pinfer.owner.states import OwnerState
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Work, sign_receipt
from tests.owner.signing import CLIENT, NOW, SERVER, SESSION, STRANGER, chain, receipt, signed

INTERVAL = Interval(
    server=SERVER.peer_id,
    started_at=NOW,
    ended_at=NOW + 60,
    state=OwnerState.SERVING,
    joules=900.5,
    energy_source=EnergySource.RAPL,
    cpu_seconds=12.5,
    price=0.31,
    currency="EUR",
    sent_bytes=1000,
    received_bytes=500,
    shared_bytes=300,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where there is no ledger yet, nor its folder."""
    return tmp_path / "data" / "ledger.sqlite"


def test_what_is_added_is_there_after_opening_again(path: Path):
    """Receipts, the session they belong to, intervals and changes of state."""
    receipts = chain(Work(10, 0), Work(10, 7))
    clock = [NOW - 900]
    with Ledger.open(path, now=lambda: clock[0]) as ledger:
        assert ledger.add_receipts(receipts[:1]) == [None]
        clock[0] = NOW
        assert ledger.add_receipts(receipts[1:]) == [None]
        ledger.add_session(
            server=SERVER.peer_id,
            session_id=SESSION,
            client=CLIENT.public_key,
            model="a" * 64,
            layers=Span(10, 20),
            work=Work(10, 9),
            started_at=NOW - 30,
            ended_at=NOW,
        )
        ledger.add_interval(INTERVAL)
        ledger.add_interval(replace(INTERVAL, started_at=NOW + 60, ended_at=NOW + 90, price=None))
        ledger.add_transition(
            server=SERVER.peer_id, at=NOW, state=OwnerState.PAUSED, words="stopped: gear is D"
        )

    with Ledger.open(path) as ledger:
        assert [entry.added for entry in ledger.receipts()] == [Work(10, 0), Work(0, 7)]
        assert list(ledger.newest_receipts()) == receipts[1:]
        [session] = ledger.sessions()
        assert (session.work, session.signed, session.unsigned_layer_tokens) == (Work(10, 9), Work(10, 7), 20)
        assert next(ledger.intervals()) == INTERVAL
        assert [interval.price for interval in ledger.intervals()] == [0.31, None]
        [change] = ledger.transitions()
        assert (change.at, change.state, change.words) == (NOW, OwnerState.PAUSED, "stopped: gear is D")


def test_only_its_owner_can_read_it(path: Path):
    """And nothing stays of its making."""
    with Ledger.open(path) as ledger:
        ledger.add_receipts(chain(Work(1, 1)))
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}

    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_each_receipt_of_a_batch_is_judged_by_itself(path: Path):
    """The good ones are kept though others are bad, and each bad one hears why."""
    good, better, best = chain(Work(10, 0), Work(10, 5), Work(10, 9))
    altered = SignedReceipt.FromString(best.SerializeToString())
    altered.receipt += b"\x38\x7f"  # more prefill tokens
    half = sign_receipt(receipt(), CLIENT)
    batch = {
        "": good,
        "number 1 is here already": good,
        "not signed by the client": altered,
        "not countersigned": half,
        "not countersigned by": signed(receipt(11, 11, sequence=9), server=STRANGER),
        "not countersigned by the server": signed(receipt(11, 11, sequence=9, server="me")),
        "another client": signed(receipt(11, 11, sequence=9, client=STRANGER.public_key), client=STRANGER),
        "client, model or layers": signed(receipt(11, 11, sequence=9, layers=Span(10, 21))),
        "another client, model": signed(receipt(11, 11, sequence=9, model="b" * 64)),
        "less work": signed(receipt(9, 11, sequence=9)),
        "adds no work": signed(receipt(10, 0, sequence=9)),
    }

    with Ledger.open(path) as ledger:
        reasons = ledger.add_receipts([*batch.values(), better, best, better])

        for expected, reason in zip(batch, reasons, strict=False):
            assert (reason is None) == (expected == "") and expected in (reason or "")
        assert reasons[-3:-1] == [None, None] and "number 3 is here" in (reasons[-1] or "")
        assert [entry.added for entry in ledger.receipts()] == [Work(10, 9)]
        assert list(ledger.newest_receipts()) == [best]


def test_sessions_and_servers_are_kept_apart(path: Path):
    """The same numbers in another session, or at another server, are other work."""
    other_session = signed(receipt(session_id=SessionId(bytes(16))))
    other_server = signed(receipt(server=STRANGER.peer_id), server=STRANGER)

    with Ledger.open(path) as ledger:
        assert ledger.add_receipts([*chain(Work(10, 5)), other_session, other_server]) == [None] * 3
        assert len(list(ledger.newest_receipts())) == 3
        assert len(list(ledger.receipts(server=STRANGER.peer_id))) == 1


def test_it_tells_what_clients_have_signed_for_the_last_one_last(path: Path):
    """All receipts of all sessions of a client together, since a time."""
    clock = [NOW]
    with Ledger.open(path, now=lambda: clock[0]) as ledger:
        assert ledger.add_receipts(chain(Work(100, 0), Work(150, 30))) == [None, None]
        clock[0] = NOW + 1
        other = signed(receipt(client=STRANGER.public_key, session_id=SessionId(b"o" * 16)), client=STRANGER)
        assert ledger.add_receipts([other]) == [None]
        work = receipt().work
        told = ledger.signed_tokens(since=NOW, most=2)
        assert told == [(CLIENT.public_key, 180), (STRANGER.public_key, work.tokens)]
        assert ledger.signed_tokens(since=NOW, most=1) == told[1:]
        assert ledger.signed_tokens(since=NOW + 1, most=2) == told[1:]


def test_reading_is_by_time(path: Path):
    """The beginning of a range belongs to it, its end doesn't."""
    clock = [NOW]
    one, other = chain(Work(1, 0)), chain(Work(2, 0), session_id=SessionId(bytes(16)))
    with Ledger.open(path, now=lambda: clock[0]) as ledger:
        ledger.add_receipts(one)
        clock[0] = NOW + 10
        ledger.add_receipts(other)
        for shift in (0, 10):
            ledger.add_interval(replace(INTERVAL, started_at=NOW + shift, ended_at=NOW + shift + 5))
            ledger.add_transition(server=SERVER.peer_id, at=NOW + shift, state=OwnerState.OFF, words="")

        for read in (ledger.receipts, ledger.intervals, ledger.transitions):
            assert len(list(read(since=NOW, until=NOW + 10))) == 1
            assert len(list(read(since=NOW, until=NOW + 11))) == 2
            assert len(list(read(since=NOW + 11))) == 0
        assert len(list(ledger.newest_receipts(until=NOW + 10))) == 1
        assert len(list(ledger.newest_receipts(since=NOW + 11))) == 0
        assert len(list(ledger.newest_receipts(client=STRANGER.public_key))) == 0
        assert ledger.traffic_bytes(since=NOW + 6) == 1500
        assert ledger.traffic_bytes(since=NOW + 11) == 1500
        assert ledger.traffic_bytes(since=NOW) == 3000
        assert ledger.traffic_bytes(since=NOW + 60) == 0
        assert [ledger.shared_bytes(since=NOW + after) for after in (0, 6, 60)] == [600, 300, 0]


def test_a_session_that_nobody_signed_for_is_all_unsigned(path: Path):
    """It ends once, and as what it began."""
    terms = {
        "server": SERVER.peer_id,
        "session_id": SESSION,
        "client": CLIENT.public_key,
        "model": "a" * 64,
        "layers": Span(10, 20),
        "work": Work(3, 4),
        "started_at": NOW,
        "ended_at": NOW + 1,
    }
    with Ledger.open(path) as ledger:
        ledger.add_session(**terms)  # type: ignore[arg-type]
        with pytest.raises(LedgerError, match=r"session 00010203 .* as one that has ended"):
            ledger.add_session(**terms)  # type: ignore[arg-type]
        with pytest.raises(LedgerError, match="another client's"):
            ledger.add_session(**(terms | {"client": STRANGER.public_key}))  # type: ignore[arg-type]

        assert [session.unsigned_layer_tokens for session in ledger.sessions()] == [70]


def test_what_is_committed_is_on_the_disk(path: Path):
    """The log is written ahead, and waited for at every commit."""
    with closing(Database.open(path, LEDGER)) as opened:
        assert list(opened.rows("PRAGMA journal_mode")) == [("wal",)]
        assert list(opened.rows("PRAGMA synchronous")) == [(2,)]  # FULL


@pytest.mark.parametrize("wrong", [{"ended_at": NOW - 1}, {"joules": math.nan}, {"ended_at": math.nan}])
def test_an_interval_that_cant_be_is_refused(path: Path, wrong: dict[str, float]):
    """The ledger goes on."""
    with Ledger.open(path) as ledger:
        with pytest.raises(LedgerError, match="does not take this"):
            ledger.add_interval(replace(INTERVAL, **wrong))  # type: ignore[arg-type]
        ledger.add_interval(INTERVAL)

        assert list(ledger.intervals()) == [INTERVAL]


@pytest.mark.parametrize("table", ["accounts", "sessions", "intervals", "shared", "transitions"])
def test_nothing_is_changed_or_deleted(path: Path, table: str):
    """Not even with SQL."""
    test_what_is_added_is_there_after_opening_again(path)
    with closing(sqlite3.connect(path)) as connection:
        [column] = connection.execute(f"SELECT name FROM pragma_table_info('{table}') LIMIT 1").fetchone()
        for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="are only added"):
                connection.execute(statement)


def test_receipts_are_not_deleted_and_change_only_into_newer_ones(path: Path):
    """Not even with SQL: neither another session's, nor one for less work, nor an earlier one."""
    with Ledger.open(path, now=lambda: NOW) as ledger:
        ledger.add_receipts(chain(Work(10, 5)))
    more = "sequence = 2, decode_tokens = 6"
    with closing(sqlite3.connect(path)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="are only added"):
            connection.execute("DELETE FROM receipts")
        for change in (
            "sequence = 1",
            "sequence = 2, prefill_tokens = 9, added_prefill_tokens = 9",
            f"{more}, account = 2",
            f"{more}, added_decode_tokens = 4",
            f"{more}, added_at = 0",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="only grow"):
                connection.execute(f"UPDATE receipts SET {change}")
        connection.execute(f"UPDATE receipts SET {more}")


def test_nothing_is_replaced(path: Path):
    """INSERT OR REPLACE deletes first: for the ledger's own connection that is a deletion like any other."""
    test_what_is_added_is_there_after_opening_again(path)
    with closing(Database.open(path, LEDGER)) as opened, pytest.raises(LedgerError, match="are only added"):
        with opened.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO transitions SELECT * FROM transitions")


def test_receipts_of_a_session_cant_be_replaced_or_shrink(path: Path):
    """Not even by another connection, whose REPLACE deletes rows without firing triggers."""
    with Ledger.open(path) as ledger:
        ledger.add_receipts(chain(Work(10, 5), Work(10, 6)))
    columns = "account, sequence, prefill_tokens, decode_tokens"
    same = (
        "added_prefill_tokens, added_decode_tokens, issued_at, added_at, receipt, client_signature, "
        "server_signature"
    )
    with closing(sqlite3.connect(path)) as connection:
        for values in ("1, 2, 99, 99", "1, 3, 9, 99", "1, 3, 99, 5"):
            with pytest.raises(sqlite3.IntegrityError, match="only grow"):
                connection.execute(
                    f"INSERT OR REPLACE INTO receipts ({columns}, {same}) "
                    f"SELECT {values}, 0, 0, 0, 0, receipt, client_signature, server_signature "
                    "FROM receipts LIMIT 1"
                )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a ledger of p2pinfer"),
        (b"model = 1\n" * 500, "not an SQLite file"),
    ],
)
def test_a_file_that_is_something_else_is_named_and_left_alone(path: Path, content: bytes, reason: str):
    """A ledger isn't made over it."""
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(LedgerError, match=rf"ledger.*\.sqlite.*{reason}|{reason}"):
        Ledger.open(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_no_ledger(path: Path):
    """Though it is SQLite."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE receipts (id)")

    with pytest.raises(LedgerError, match=r"ledger\.sqlite is not a ledger of p2pinfer"):
        Ledger.open(path)


def test_a_newer_ledger_is_not_touched(path: Path):
    """Its rows may mean something else."""
    Ledger.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9")

    with pytest.raises(LedgerError, match=r"version 9, and this p2pinfer knows version 3"):
        Ledger.open(path)


def test_a_damaged_ledger_says_so(path: Path):
    """A page in its middle was overwritten, which a reader of other pages would not notice."""
    with Ledger.open(path) as ledger:
        ledger.add_receipts(chain(*(Work(tokens, 0) for tokens in range(1, 60))))
    data = bytearray(path.read_bytes())
    middle = len(data) // 8192 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(data)

    with pytest.raises(LedgerError, match=r"ledger\.sqlite is damaged .*restore a backup"):
        Ledger.open(path)


def test_a_folder_that_cant_be_made_is_named(tmp_path: Path):
    """A file is in its place."""
    (tmp_path / "data").write_text("")

    with pytest.raises(LedgerError, match=r"data/ledger\.sqlite can't be made"):
        Ledger.open(tmp_path / "data" / "ledger.sqlite")


def test_a_path_may_have_any_signs(tmp_path: Path):
    """Also characters that have a meaning in a URI."""
    path = tmp_path / "a ?mode=ro#%41 ü" / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        ledger.add_receipts(chain(Work(1, 0)))

    assert path.exists()


def test_who_waits_too_long_for_another_process_says_so(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing of the batch is kept."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    with Ledger.open(path) as ledger, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="held by another process"):
            ledger.add_receipts(chain(Work(1, 0)))
        other.rollback()

        assert list(ledger.receipts()) == []
        assert ledger.add_receipts(chain(Work(1, 0))) == [None]


def test_several_that_make_it_at_once_share_it(path: Path):
    """One of them is first; all of them write."""
    barrier = threading.Barrier(6)
    reasons: list[str | None] = []

    def write(number: int) -> None:
        one = signed(receipt(session_id=SessionId(bytes([number] * 16))))
        barrier.wait()
        with Ledger.open(path) as ledger:
            reasons.extend(ledger.add_receipts([one]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert reasons == [None] * 6
    with Ledger.open(path) as ledger:
        assert len(list(ledger.receipts())) == 6
