"""Writers of a ledger are killed at random moments: what they were told is written is there."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from p2pinfer.owner.ledger.ledger import Ledger
from tests.processes.line_process import line_process

KILLS = 20
MOST_IN_A_BATCH = 3


class Writers:
    """Starts writers one after the other. `said` has every write that returned to a writer."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._pid = 0
        self.said: set[str] = set()

    def start(self, path: Path, number: int) -> None:
        """Start a writer, which writes at once."""
        self._stdin.write(f"{path} {number}\n")
        self._stdin.flush()
        name, pid = self._stdout.readline().split()
        assert name == "writer"
        self._pid = int(pid)

    def wait_for_writes(self, count: int) -> None:
        """Wait until this number of writes has returned."""
        for _ in range(count):
            line = self._stdout.readline().strip()
            assert line != "gone", "the writer has ended by itself"
            self.said.add(line)

    def kill(self) -> None:
        """Kill the writer, and read its last lines."""
        os.kill(self._pid, signal.SIGKILL)
        while (line := self._stdout.readline().strip()) != "gone":
            assert line
            self.said.add(line)


@contextmanager
def nursery() -> Iterator[Writers]:
    with line_process("tests.owner.ledger.writer_process") as (stdin, stdout):
        yield Writers(stdin, stdout)


def check_intact(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def written(path: Path) -> tuple[set[str], int]:
    """Every write that the ledger has, as its writer would have said it; and the number of receipts."""
    found = set()
    receipts = 0
    with Ledger.open(path) as ledger:
        with closing(sqlite3.connect(path)) as connection:
            for session_id, newest in connection.execute(
                "SELECT session_id, max(sequence) FROM receipts JOIN accounts ON accounts.id = account "
                "GROUP BY account"
            ):  # it covers the earlier ones
                found |= {f"receipts {session_id.hex()} {sequence}" for sequence in range(1, newest + 1)}
                receipts += newest
        found |= {
            f"session {session.session_id.hex()} {session.work.tokens}" for session in ledger.sessions()
        }
        found |= {f"interval {interval.started_at}" for interval in ledger.intervals()}
        found |= {f"transition {change.at}" for change in ledger.transitions()}
        for session in ledger.sessions():
            assert session.signed == session.work  # all of its receipts were written before it
    return found, receipts


def test_twenty_kills_lose_nothing_that_was_written(tmp_path: Path):
    """The ledger opens, is sound, and has everything; at most the write in hand is there besides."""
    choices = random.Random(5)
    path = tmp_path / "ledger.sqlite"
    with nursery() as writers:
        for number in range(KILLS):
            writers.start(path, number)
            writers.wait_for_writes(choices.randint(0, 40))
            time.sleep(choices.uniform(0, 0.004))  # somewhere inside a write
            writers.kill()

            if not path.exists():  # killed before it was made
                assert not writers.said
                continue
            check_intact(path)
            found, _ = written(path)
            assert writers.said <= found

    # One write in hand at each kill: of the receipts in it only the last has a line of its own.
    found, receipts = written(path)
    acknowledged = [line for line in writers.said if line.startswith("receipts")]
    assert len(acknowledged) > KILLS
    extra = {line for line in found - writers.said if not line.startswith("receipts")}
    assert len(extra) <= KILLS
    assert len(acknowledged) <= receipts <= (len(acknowledged) + KILLS) * MOST_IN_A_BATCH


def test_being_killed_while_the_ledger_is_made_leaves_none_or_a_whole_one(tmp_path: Path):
    """The next writer opens the ledger, or makes it."""
    choices = random.Random(6)
    with nursery() as writers:
        for number in range(10):
            path = tmp_path / str(number) / "ledger.sqlite"
            writers.said.clear()
            writers.start(path, number)
            time.sleep(choices.uniform(0, 0.02))
            writers.kill()

            found, _ = written(path)
            assert writers.said <= found
            check_intact(path)


def test_one_that_is_killed_leaves_the_others_writing(tmp_path: Path):
    """Servers of one machine share a ledger; a killed server doesn't hold up the others."""
    path = tmp_path / "ledger.sqlite"
    with nursery() as first, nursery() as second, nursery() as third:
        all_of_them = (first, second, third)
        for number, writers in enumerate(all_of_them):
            writers.start(path, number)
        for writers in all_of_them:
            writers.wait_for_writes(10)
        first.kill()
        for writers in (second, third):
            writers.wait_for_writes(20)
        first.start(path, 3)
        first.wait_for_writes(5)
        for writers in all_of_them:
            writers.kill()

    check_intact(path)
    found, _ = written(path)
    assert first.said | second.said | third.said <= found
