"""A statement for people, and for programs."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.owner.ledger.entries import Transition
from p2pinfer.owner.ledger.interval import EnergySource
from p2pinfer.owner.statement.text import CSV_COLUMNS, as_csv, as_table
from p2pinfer.owner.states import OwnerState
from p2pinfer.plain_text import printable, short_count
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipts import Work
from tests.owner.signing import SERVER, STRANGER
from tests.owner.statement.months import at, ended, interval, rate, signed_work, statement, utc


def test_the_table_says_how_energy_was_found():
    """`~` is an estimate; below it stands how much was found how."""
    table = as_table(
        statement(
            intervals=[
                interval(at(2)),
                interval(at(3), energy_source=EnergySource.SIGNAL),
                interval(at(4), energy_source=EnergySource.ESTIMATE, joules=432_000.0),
            ]
        ),
        utc,
    )

    kwh = [line.split()[8] for line in table.splitlines() if line.startswith(("Mon", "Tue", "Wed"))]
    assert kwh == ["0.36", "0.36", "~0.12"]
    assert (
        "Energy: 0.36 kWh measured by the processor (RAPL), 0.36 kWh measured by your meter, "
        "0.12 kWh estimated (~) from computing time." in table
    )


def test_a_stranger_can_read_the_whole_table():
    """A busy month in 100 columns, with the latest changes of state and what it can't prove."""
    changes = [
        Transition(server=SERVER.peer_id, at=at(3, 8 + 13 / 60), state=OwnerState.PAUSED, words="gear is D"),
        Transition(
            server=SERVER.peer_id, at=at(3, 18), state=OwnerState.SERVING, words="evil \x1b[2J words\n"
        ),
    ]
    days = [day for day in range(1, 31) if day % 7]
    table = as_table(
        statement(
            receipts=[
                signed_work(at(day), 123_456_789 * day, 98_765_432, session_id=SessionId(bytes([day] * 16)))
                for day in days
            ]
            + [signed_work(at(5), 10**9, 10**9, client=STRANGER.public_key)],
            sessions=[ended(at(9), Work(10**7, 10**7), Work())],
            intervals=[interval(at(day), 14.5, energy_source=EnergySource.ESTIMATE) for day in days],
            transitions=changes,
        ),
        utc,
    )
    print(table)

    assert max(len(line) for line in table.splitlines()) <= 100
    assert table.startswith("November 2026\n")
    assert "  Tue 03 08:13  stopped: gear is D\n" in table
    assert "evil ?[2J words?" in table and "\x1b" not in table
    assert "A signature proves that the client has signed" in table


def test_a_month_without_receipts_is_told_so():
    """Hours and energy are shown without receipts too."""
    table = as_table(statement(intervals=[interval(at(2))]), utc)

    assert "No receipts in this month" in table and "0.36" in table
    assert "no other entries" in as_table(statement(), utc)


def test_what_was_shared_is_told_below_the_table():
    """By all days together; a month without sharing has no line about it."""
    days = [interval(at(2), shared_bytes=700_000_000), interval(at(3), shared_bytes=500_000_000)]

    assert "Shared: 1.2 GB of model files sent to other machines.\n" in as_table(
        statement(intervals=days), utc
    )
    assert "Shared" not in as_table(statement(intervals=[interval(at(2))]), utc)
    lines = csv.DictReader(io.StringIO(as_csv(statement(intervals=days))))
    assert [line["shared_bytes"] for line in lines] == ["700000000", "500000000"]


def test_csv_is_for_programs():
    """A stable header, exact numbers, lines that end as RFC 4180 says."""
    made = statement(
        receipts=[signed_work(at(2), 123_456_789, 1)],
        intervals=[interval(at(2), energy_source=EnergySource.ESTIMATE, joules=12.345)],
    )
    text = as_csv(made)

    assert text.split("\r\n")[0] == ",".join(CSV_COLUMNS)
    assert text.endswith("\r\n") and text.count("\n") == text.count("\r\n") == 2
    [line] = csv.DictReader(io.StringIO(text))
    assert line["day"] == "2026-11-02"
    assert line["prefill_layer_tokens_signed"] == "1234567890"
    assert (line["joules_rapl"], line["joules_signal"], line["joules_estimate"]) == ("0.0", "0.0", "12.3")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00k"), (12_345, "12.3k"), (999_999, "999k"), (4_567_000_000, "4.56G")],
)
def test_large_counts_are_short(number: int, text: str):
    """Cut, so that nothing looks like more than it is."""
    assert short_count(number) == text


@settings(max_examples=60)
@given(st.text(max_size=300))
def test_foreign_words_cant_steer_a_terminal(text: str):
    """Nor fill it."""
    shown = printable(text, 50)

    assert shown.isprintable() and len(shown) <= 50


def test_absurd_amounts_are_printed_all_the_same():
    """Decimal would rather raise than round."""
    made = statement(
        receipts=[signed_work(at(2), 2**62, 0, layers=Span(0, 2**20))],
        rates=[rate(per_million_prefill_layer_tokens=Decimal("999999999.123456789"))],
    )

    assert "EUR" in as_table(made, utc) and "EUR" in as_csv(made)
