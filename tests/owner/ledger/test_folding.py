"""Few rows for much work: newer receipts take the place of older ones, and small work is added up."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pinfer.owner.ledger import worth
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.ledger.worth import LEAST_FREE_BYTES, Tier
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipts import Work, read_countersigned
from tests.owner.signing import CLIENT, NOW, SERVER, chain

LAYERS = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def tiny_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions of any size, and two more of a hundred tokens."""
    tiers = (Tier(least_tokens=1, most=2, most_of_client=2), Tier(least_tokens=100, most=4, most_of_client=4))
    monkeypatch.setattr(worth, "TIERS", tiers)


def session(number: int) -> SessionId:
    return SessionId(bytes([number] * 16))


def end(ledger: Ledger, number: int, work: Work, signed: Work, ended_at: float = NOW) -> None:
    fields: dict[str, Any] = {"server": SERVER.peer_id, "client": CLIENT.public_key, "model": "a" * 64}
    ledger.add_session(
        **fields,
        session_id=session(number),
        layers=Span(10, 10 + LAYERS),
        work=work,
        started_at=NOW,
        ended_at=ended_at,
        signed=signed,
    )


def sums(ledger: Ledger) -> list[tuple[int, int]]:
    return [(small.sessions, small.layer_tokens) for small in ledger.small_work()]


def test_a_newer_receipt_takes_the_row_of_an_older_one_and_is_the_proof_for_both(path: Path):
    with Ledger.open(path, now=lambda: NOW) as ledger:
        for one in chain(*(Work(count, count) for count in range(1, 200))):
            assert ledger.add_receipts([one], before=[Work()]) == [None]

        [entry] = ledger.receipts()
        [newest] = ledger.newest_receipts()
    assert entry.added == Work(199, 199) == read_countersigned(newest).work


def test_a_long_session_has_one_row_each_quarter_of_an_hour(path: Path):
    """So that the work is in the statement of the day on which it was done."""
    clock = [NOW]
    with Ledger.open(path, now=lambda: clock[0]) as ledger:
        for count, one in enumerate(chain(*(Work(count, 0) for count in range(1, 10)))):
            clock[0] = NOW + 300 * count
            assert ledger.add_receipts([one]) == [None]

        assert [entry.added for entry in ledger.receipts()] == [Work(3, 0)] * 3
        assert [read_countersigned(one).work for one in ledger.newest_receipts()] == [Work(9, 0)]


@pytest.mark.usefixtures("tiny_day")
def test_small_sessions_of_a_full_day_are_taken_and_only_added_up(path: Path):
    with Ledger.open(path, now=lambda: NOW) as ledger:
        for number in range(20):
            [one] = chain(Work(3, 1), session_id=session(number))
            assert ledger.add_receipts([one]) == [None]
            end(ledger, number, Work(3, 2), Work(3, 1))

        assert len(list(ledger.newest_receipts())) == 2
        assert len(list(ledger.sessions())) == 2
        assert sums(ledger) == [(18, 18 * 5 * LAYERS)]

        [large] = chain(Work(100, 0), session_id=session(30))
        assert ledger.add_receipts([large]) == [None]
        assert len(list(ledger.newest_receipts())) == 3


@pytest.mark.usefixtures("tiny_day")
def test_a_full_day_is_full_after_a_restart_too_and_the_next_one_is_empty(path: Path):
    clock = [NOW]
    for number in range(4):
        with Ledger.open(path, now=lambda: clock[0]) as ledger:
            end(ledger, number, Work(1, 0), Work())
    with Ledger.open(path, now=lambda: clock[0]) as ledger:
        assert sums(ledger) == [(2, 2 * LAYERS)]
        clock[0] += 86_400
        end(ledger, 5, Work(1, 0), Work(), ended_at=clock[0])
        assert len(list(ledger.sessions())) == 3


@pytest.mark.usefixtures("tiny_day")
def test_a_session_that_was_added_up_is_kept_once_it_is_large_and_counts_once(path: Path):
    small, large = chain(Work(4, 0), Work(104, 0), session_id=session(9))
    with Ledger.open(path, now=lambda: NOW) as ledger:
        for number in range(2):
            end(ledger, number, Work(1, 0), Work())
        assert ledger.add_receipts([small]) == [None]
        assert ledger.add_receipts([large], before=[Work(4, 0)]) == [None]
        end(ledger, 9, Work(104, 0), Work(104, 0))

        assert sums(ledger) == [(0, 4 * LAYERS)]
        assert [entry.added for entry in ledger.receipts()] == [Work(100, 0)]
        assert [read_countersigned(one).work for one in ledger.newest_receipts()] == [Work(104, 0)]


@pytest.mark.usefixtures("tiny_day")
def test_a_session_with_rows_gets_no_more_of_them_on_a_full_day(path: Path):
    """Its newest receipt is still the proof for all of its work."""
    clock = [NOW]
    with Ledger.open(path, now=lambda: clock[0]) as ledger:
        for count, one in enumerate(chain(*(Work(count, 0) for count in range(1, 9)))):
            clock[0] = NOW + 900 * count
            assert ledger.add_receipts([one]) == [None]

        assert [entry.added.tokens for entry in ledger.receipts()] == [1, 7]
        assert [read_countersigned(one).work for one in ledger.newest_receipts()] == [Work(8, 0)]


def test_a_disk_that_is_nearly_full_takes_nothing_more_and_this_is_said_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Receipts are still taken, so that sessions go on."""
    free = [LEAST_FREE_BYTES - 1]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[0]))
    with caplog.at_level(logging.WARNING), Ledger.open(path, now=lambda: NOW) as ledger:
        for number in range(3):
            assert ledger.add_receipts(chain(Work(500, 0), session_id=session(number))) == [None]
        assert list(ledger.receipts()) == []
        assert sums(ledger) == [(0, 1500 * LAYERS)]

        free[0] = LEAST_FREE_BYTES
        assert ledger.add_receipts(chain(Work(500, 0), session_id=session(9))) == [None]
        assert len(list(ledger.receipts())) == 1
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "Make room" in said[0] and "has room again" in said[1]
