"""What is known, when it changes, and what is logged of troubles."""

from __future__ import annotations

import logging

from p2pinfer.owner.signals.known import LOG_AGAIN_SECONDS, Known
from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.trouble import SourceError, Trouble

PARKED = Told(value=True, words="gear is P")
DRIVING = Told(value=False, words="gear is D")
LOST = SourceError("connection refused", kind="refused")


class Book:
    """A `Known` with a clock to be set, and a count of changes."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.changes = 0
        self.known = Known(now=lambda: self.time, on_change=self._change)

    def _change(self) -> None:
        self.changes += 1

    def tell(self, told: Told = PARKED, max_age_seconds: float | None = None) -> None:
        self.known.tell(Signal.PARKED, told, origin="mqtt gear", max_age_seconds=max_age_seconds)


async def test_only_news_are_changes():
    book = Book()
    book.tell()
    assert book.changes == 1
    book.tell()
    book.known.vouch([Signal.PARKED, Signal.PRICE])
    assert book.changes == 1
    book.tell(DRIVING)
    assert book.changes == 2


async def test_vouching_makes_a_reading_fresh_and_nothing_else():
    book = Book()
    book.tell()
    book.time = 1015.0
    book.known.vouch([Signal.PARKED])
    reading = book.known.readings()[Signal.PARKED]
    assert (reading.value, reading.words, reading.origin) == (True, "gear is P", "mqtt gear")
    assert reading.at == 1015.0


async def test_a_lost_source_is_a_change_and_so_is_its_return():
    book = Book()
    book.tell()
    book.known.lose([Signal.PARKED], origin="mqtt broker", error=LOST)
    book.known.lose([Signal.PARKED], origin="mqtt broker", error=LOST)
    assert book.changes == 2
    assert book.known.troubles() == {"mqtt broker": "connection refused"}
    assert Signal.PARKED in book.known.readings()
    book.known.well("mqtt broker")
    assert (book.changes, book.known.troubles()) == (3, {})
    book.known.vouch([Signal.PARKED])
    assert book.changes == 4


async def test_a_withdrawn_signal_is_unknown_until_it_is_told_again():
    book = Book()
    book.tell()
    book.known.withdraw(Signal.PARKED, origin="mqtt gear", error=SourceError("it says nothing", kind="empty"))
    assert book.known.readings() == {}
    book.known.vouch([Signal.PARKED])
    assert book.known.readings() == {}
    assert book.known.troubles() == {"mqtt gear": "it says nothing"}
    book.tell()
    assert (book.known.troubles(), book.changes) == ({}, 3)


async def test_troubles_of_one_origin_are_put_together():
    book = Book()
    for signal, words in ((Signal.PARKED, "a"), (Signal.IN_USE, "b"), (Signal.PLACE, "a")):
        book.known.withdraw(signal, origin="mqtt gear", error=SourceError(words, kind=words))
    assert book.known.troubles() == {"mqtt gear": "a; b"}


async def test_age_is_noticed_even_if_the_machine_has_slept_over_its_timer():
    book = Book()
    book.tell(max_age_seconds=600.0)
    book.time += 599.0
    book.known.vouch([Signal.PARKED])
    assert book.known.readings()[Signal.PARKED].at == 1599.0
    book.time += 2.0
    book.known.vouch([Signal.PARKED])
    assert book.known.readings() == {}
    assert "600 s" in book.known.troubles()["mqtt gear"]
    book.known.close()


async def test_a_trouble_is_logged_once_for_a_while_in_one_line(caplog):
    book = Book()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            book.known.lose([], origin="mqtt broker", error=LOST)
            book.known.well("mqtt broker")
        book.known.lose([], origin="mqtt broker", error=SourceError("no\nanswer", kind="no answer"))
        book.time += LOG_AGAIN_SECONDS
        book.known.lose([], origin="mqtt broker", error=LOST)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "mqtt broker: connection refused",
        "mqtt broker: no?answer",
        "mqtt broker: connection refused",
    ]
    assert all(record.exc_info is None for record in caplog.records)


async def test_a_source_that_cannot_be_reached_is_the_reason_for_all_its_signals():
    """What was wrong with one of its topics before is the reason again when it is back."""
    book = Book()
    silence = SourceError("nothing is published there", kind="silence", advice="look at the topic")
    book.known.withdraw(Signal.PARKED, origin="mqtt gear", error=silence)
    assert book.known.reasons() == {
        Signal.PARKED: Trouble(
            origin="mqtt gear",
            kind="silence",
            words="nothing is published there",
            advice="look at the topic",
        )
    }
    for order in ([Signal.PARKED, Signal.PLACE], [Signal.PLACE, Signal.PARKED]):
        book.known.lose(order, origin="mqtt broker", error=LOST)
        lost = Trouble(origin="mqtt broker", kind="refused", words="connection refused")
        assert book.known.reasons() == {Signal.PARKED: lost, Signal.PLACE: lost}
        book.known.withdraw(Signal.PARKED, origin="mqtt gear", error=silence)
        assert book.known.reasons() == {Signal.PARKED: lost, Signal.PLACE: lost}
    book.known.well("mqtt broker")
    assert book.known.reasons().keys() == {Signal.PARKED}


async def test_of_two_sources_of_a_signal_the_lost_one_comes_first_in_either_order():
    book = Book()
    book.known.lose([Signal.PARKED], origin="mqtt broker", error=LOST)
    book.known.withdraw(Signal.PARKED, origin="mqtt gear", error=SourceError("x", kind="no bool"))

    assert book.known.reasons()[Signal.PARKED].origin == "mqtt broker"


async def test_a_silent_book_logs_nothing(caplog):
    known = Known(now=lambda: 0.0, on_change=lambda: None, silently=True)
    with caplog.at_level(logging.INFO):
        known.lose([Signal.PARKED], origin="mqtt broker", error=LOST)
        known.well("mqtt broker")
    assert caplog.records == []
