"""The ledger's own thread: every caller gets an answer, and every note is written, also after a failure."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from p2pinfer.errors import LedgerError
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.owner.states import OwnerState
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Work
from tests.owner.signing import CLIENT, SERVER, receipt, signed


def number(number: int) -> SignedReceipt:
    """One of a session's receipts."""
    return signed(receipt(prefill_tokens=10 * number, sequence=number))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


async def test_receipts_that_come_together_are_all_there_when_their_senders_are_answered(path):
    with LedgerWriter(path) as book:
        receipts = [number(count) for count in range(1, 30)]
        answers = await asyncio.gather(*(book.add_receipt(receipt, before=Work()) for receipt in receipts))
        with Ledger.open(path) as ledger:
            assert [entry.added for entry in ledger.receipts(since=0.0, until=1e12)] == [Work(290, 5)]
    assert answers == [None] * 29


async def test_one_that_is_refused_does_not_stop_the_others(path):
    with LedgerWriter(path) as book:
        first, again, second = (book.add_receipt(number(count), before=Work()) for count in (1, 1, 2))
        assert [reason is None for reason in await asyncio.gather(first, again, second)] == [
            True,
            False,
            True,
        ]


async def test_what_was_noted_is_written_when_the_book_is_closed(path):
    with LedgerWriter(path) as book:
        for at in range(20):
            book.note(
                lambda ledger, at=at: ledger.add_transition(
                    server=SERVER.peer_id, at=float(at), state=OwnerState.PAUSED, words="gear is D"
                )
            )
    with Ledger.open(path) as ledger:
        assert len(list(ledger.transitions(since=0.0, until=100.0))) == 20


async def test_a_question_is_answered_after_what_was_noted_before(path):
    with LedgerWriter(path) as book:
        await book.add_receipt(number(1), before=Work())
        assert await book.ask(lambda ledger: len(list(ledger.newest_receipts(client=CLIENT.public_key)))) == 1


@pytest.mark.parametrize("fault", [LedgerError("the disk is full"), RuntimeError("a fault")])
async def test_a_failure_reaches_who_waits_and_the_thread_goes_on(path, monkeypatch, caplog, fault):
    def fail(*_: object) -> None:
        raise fault

    with LedgerWriter(path) as book:
        with monkeypatch.context() as broken:
            broken.setattr(Ledger, "add_receipts", fail)
            with pytest.raises(LedgerError, match=r"disk|fault"):
                await book.add_receipt(number(1), before=Work())
            book.note(fail)
            with pytest.raises(LedgerError):
                await book.ask(fail)
        assert await book.add_receipt(number(1), before=Work()) is None
    assert "not written to the ledger" in caplog.text


async def test_a_ledger_that_cannot_be_opened_is_named(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_text("this is no ledger")
    with pytest.raises(LedgerError, match=r"ledger\.sqlite"):
        with LedgerWriter(path):
            pass
