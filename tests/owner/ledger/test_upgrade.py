"""A ledger that an older release wrote: it opens, keeps every row, and no accident harms it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from p2pinfer.database import Database, FileKind
from p2pinfer.errors import LedgerError
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.ledger.schema import LEDGER
from p2pinfer.owner.states import OwnerState
from p2pinfer.types import Span
from p2pinfer.wire.receipts import Work
from tests.owner.ledger.test_ledger import INTERVAL
from tests.owner.signing import CLIENT, NOW, SERVER, SESSION, chain

ROOT = Path(__file__).parents[3]
VERSION_1 = FileKind(
    name="ledger",
    application_id=LEDGER.application_id,
    version=1,
    error=LedgerError,
    schema=(Path(__file__).parent / "version_1.sql").read_text(),
)
"""As the release before sharing had it."""
RECEIPTS = chain(Work(10, 0), Work(10, 7))
UNSHARED = replace(INTERVAL, shared_bytes=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of version 1, with a row in every table."""
    path = tmp_path / "ledger.sqlite"
    clock = [NOW - 900]
    with Ledger(Database.open(path, VERSION_1), lambda: clock[0]) as ledger:
        assert ledger.add_receipts(RECEIPTS[:1]) == [None]
        clock[0] = NOW
        write_rows(ledger)
    return path


def write_rows(ledger: Ledger) -> None:
    assert ledger.add_receipts(RECEIPTS[1:]) == [None]
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
    ledger.add_interval(UNSHARED)
    ledger.add_transition(server=SERVER.peer_id, at=NOW, state=OwnerState.PAUSED, words="gear is D")


def check_rows(ledger: Ledger) -> None:
    assert [entry.added for entry in ledger.receipts()] == [Work(10, 0), Work(0, 7)]
    assert list(ledger.newest_receipts()) == RECEIPTS[1:]
    assert [session.work for session in ledger.sessions()] == [Work(10, 9)]
    assert next(ledger.intervals()) == UNSHARED
    assert [change.words for change in ledger.transitions()] == ["gear is D"]


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [version] = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def objects_of(path: Path) -> set[tuple[str, str]]:
    """The tables, indexes and triggers of a file, with what they say; not how it is laid out."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {(name, " ".join(sql.split())) for name, sql in rows}


def test_a_ledger_of_the_last_release_keeps_every_row(path: Path):
    """What was shared before is none, and what is shared from now on is kept."""
    with Ledger.open(path) as ledger:
        check_rows(ledger)
        assert ledger.shared_bytes(since=0) == 0
        ledger.add_interval(replace(INTERVAL, started_at=NOW + 60, ended_at=NOW + 90))

    with Ledger.open(path) as ledger:
        check_rows(ledger)
        assert [interval.shared_bytes for interval in ledger.intervals()] == [0, 300]
        assert ledger.shared_bytes(since=0) == 300


def test_it_is_then_as_a_new_one(path: Path):
    """The same tables, indexes and triggers: rows are only added here too."""
    Ledger.open(path).close()
    Ledger.open(path.with_name("new.sqlite")).close()

    assert version_of(path) == LEDGER.version
    assert objects_of(path) == objects_of(path.with_name("new.sqlite"))


def test_a_copy_is_upgraded_and_the_file_is_not(path: Path):
    """A reader changes nothing."""
    before = path.read_bytes()
    with Ledger(Database.copy_of(path, LEDGER), lambda: NOW) as copy:
        check_rows(copy)
        copy.add_interval(replace(INTERVAL, started_at=NOW + 60, ended_at=NOW + 90))
        assert copy.shared_bytes(since=0) == 300

    assert version_of(path) == 1
    assert path.read_bytes() == before


def test_a_server_of_the_last_release_goes_on_writing_meanwhile(path: Path):
    """It opened the file before `statement` of this release did."""
    with Ledger(Database.open(path, VERSION_1), lambda: NOW + 900) as old:
        with Ledger.open(path) as new:
            old.add_interval(replace(UNSHARED, started_at=NOW + 60, ended_at=NOW + 90))
            assert old.add_receipts(chain(Work(10, 0), Work(10, 7), Work(10, 8))[2:]) == [None]

            assert len(list(new.intervals())) == 2
            assert new.shared_bytes(since=0) == 0


def test_a_ledger_without_a_way_up_is_refused(path: Path):
    """As one of a newer release is."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")

    with pytest.raises(LedgerError, match="version 0, and this p2pinfer knows version 3"):
        Ledger.open(path)
    with pytest.raises(LedgerError, match="version 0"):
        Database.copy_of(path, LEDGER)


def test_several_that_upgrade_it_at_once_do_it_once(path: Path):
    """The others wait, and find it done."""
    barrier = threading.Barrier(6)
    failures: list[LedgerError] = []

    def use(number: int) -> None:
        barrier.wait()
        try:
            with Ledger.open(path) as ledger:
                at = NOW + 60 * number
                ledger.add_interval(replace(INTERVAL, started_at=at, ended_at=at + 1))
        except LedgerError as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with Ledger.open(path) as ledger:
        check_rows(ledger)
        assert ledger.shared_bytes(since=0) == 6 * 300


def test_an_upgrade_that_fails_half_way_changes_nothing(path: Path):
    """Its first statements worked."""
    broken = replace(
        LEDGER, upgrades={**LEDGER.upgrades, 2: (*LEDGER.upgrades[2], "CREATE TABLE intervals (id)")}
    )
    before = objects_of(path)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite"):
        Database.open(path, broken)

    assert (version_of(path), objects_of(path)) == (1, before)
    test_a_ledger_of_the_last_release_keeps_every_row(path)


ENDLESS = (
    "INSERT INTO shared WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n) SELECT i, 1 FROM n"
)


@pytest.fixture
def upgrading(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the middle of an upgrade that never ends."""
    program = (
        "import sys; from dataclasses import replace; from pathlib import Path; "
        "from p2pinfer.database import Database; from p2pinfer.owner.ledger.schema import LEDGER; "
        "slow = replace(LEDGER, upgrades={**LEDGER.upgrades, 1: (*LEDGER.upgrades[1], sys.argv[2])}); "
        "Database.open(Path(sys.argv[1]), slow)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path), ENDLESS], cwd=ROOT) as process:
        try:
            wait_until_held(path, process)
            yield process
        finally:
            process.kill()


def wait_until_held(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the process has written some of the upgrade to the disk."""
    log = path.with_name(f"{path.name}-wal")
    while not log.exists() or log.stat().st_size < 1_000_000:
        assert process.poll() is None


def test_being_killed_half_way_leaves_the_ledger_as_it_was(path: Path, upgrading: subprocess.Popen[bytes]):
    """The next program upgrades it."""
    os.kill(upgrading.pid, signal.SIGKILL)
    upgrading.wait()

    assert version_of(path) == 1
    test_a_ledger_of_the_last_release_keeps_every_row(path)
