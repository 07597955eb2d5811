"""Work, energy, cost and credit of a month are added up by day."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.owner.ledger.entries import SmallWork
from p2pinfer.owner.statement.month import Month
from p2pinfer.owner.statement.text import as_csv, as_table
from p2pinfer.owner.states import OwnerState
from p2pinfer.types import PeerId, SessionId
from p2pinfer.wire.receipts import Work
from tests.owner.signing import STRANGER
from tests.owner.statement.months import RATES, at, ended, interval, signed_work, statement, utc


def test_work_energy_and_money_are_added_up_by_day():
    """In tokens times layers, and in the currency of rates and tariff."""
    made = statement(
        receipts=[
            signed_work(at(2), 50_000, 10_000),
            signed_work(at(2), 0, 10_000),
            signed_work(at(3), 0, 1),
        ],
        intervals=[interval(at(2)), interval(at(2), state=OwnerState.PAUSED, joules=0.0)],
    )

    (second, figures), (third, _) = made.days
    assert (second, third) == (date(2026, 11, 2), date(2026, 11, 3))
    assert (figures.prefill_layer_tokens, figures.decode_layer_tokens) == (500_000, 200_000)
    assert figures.seconds_served == 3600
    assert figures.total_joules == 1_296_000 and not figures.is_estimated
    money = figures.money["EUR"]
    assert money.credit == Decimal("0.05") + Decimal("0.4")
    assert money.cost == Decimal("0.09")
    assert money.net == Decimal("0.36")
    assert made.total.decode_layer_tokens == 200_010


def test_a_session_counts_once_on_the_first_day_that_shows_it():
    """However many receipts it has, and over whatever midnight it runs."""
    other = SessionId(bytes(16))
    made = statement(
        receipts=[signed_work(at(2), 1, 1), signed_work(at(2), 1, 1), signed_work(at(3), 1, 1)],
        sessions=[ended(at(3), Work(3, 3), Work(3, 3)), ended(at(3), Work(5, 5), Work(), other)],
    )

    assert [figures.sessions for _, figures in made.days] == [1, 1]
    assert made.total.sessions == 2


def test_small_work_whose_receipts_are_not_kept_counts_as_unsigned():
    """Nobody can redeem it."""
    small = [SmallWork(server=PeerId("p"), at=at(day), sessions=7, layer_tokens=70) for day in (2, 2, 3)]
    made = statement(small_work=small)

    assert [figures.sessions for _, figures in made.days] == [14, 7]
    assert made.total.unsigned_layer_tokens == 210
    assert not made.total.money


def test_unsigned_work_counts_when_its_session_ends():
    """What was done less what was signed, by kind."""
    made = statement(sessions=[ended(at(4), Work(30, 12), Work(30, 10)), ended(at(4), Work(0, 1), Work())])

    assert made.total.unsigned_layer_tokens == 20 + 10


def test_clients_without_a_rate_are_counted_apart():
    """Also clients whose rate was not valid yet at the signature."""
    made = statement(
        receipts=[
            signed_work(at(2), 1, 1, client=STRANGER.public_key),
            signed_work(at(2), 1, 2, issued_at=datetime(2025, 12, 31, tzinfo=UTC).timestamp()),
            signed_work(at(2), 0, 100_000),
        ]
    )

    assert made.total.unrated_layer_tokens == 20 + 30
    assert made.total.decode_layer_tokens == 1_000_030
    assert made.total.money["EUR"].credit == 2


def test_an_unknown_price_is_not_nothing():
    """What is known is a lower bound of the cost; without any price there is neither cost nor net."""
    some = statement(intervals=[interval(at(2)), interval(at(2), price=None)])
    none = statement(receipts=[signed_work(at(2), 0, 100_000)], intervals=[interval(at(2), price=None)])

    assert "  >0.0900    0.00  <-0.0900 EUR" in as_table(some, utc)
    assert "     -    2.00    - EUR" in as_table(none, utc)
    assert "no known price" in as_table(none, utc)
    assert as_csv(some).splitlines()[1].endswith(",EUR,0.090000,no,0.000000,-0.090000")
    assert as_csv(none).splitlines()[1].endswith(",EUR,,no,2.000000,")


def test_currencies_are_kept_apart():
    """A line for each."""
    made = statement(
        receipts=[signed_work(at(2), 0, 100_000)], intervals=[interval(at(2), currency="CHF", price=0.5)]
    )
    lines = as_table(made, utc).splitlines()

    assert any(line.endswith("0.1800    0.00  -0.1800 CHF") for line in lines)
    assert any(line.endswith("0.00    2.00    +2.00 EUR") for line in lines)
    first, second = list(csv.DictReader(io.StringIO(as_csv(made))))
    assert (first["sessions"], second["sessions"]) == ("1", "")
    assert (first["currency"], first["cost"], second["currency"], second["credit"]) == (
        "CHF",
        "0.180000",
        "EUR",
        "2.000000",
    )


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=20))
def test_days_add_up_to_the_total(entries: list[tuple[int, int, int]]):
    """Work and credit alike, in whatever order."""
    made = statement(receipts=[signed_work(at(day), prefill, decode) for day, prefill, decode in entries])

    total = made.total
    prefill, decode = (10 * sum(entry[index] for entry in entries) for index in (1, 2))
    assert (total.prefill_layer_tokens, total.decode_layer_tokens) == (prefill, decode)
    assert sum(figures.sessions for _, figures in made.days) == total.sessions == min(1, len(entries))
    if entries:
        assert total.money["EUR"].credit == RATES[0].credit(prefill, decode)


@pytest.mark.parametrize("text", ["2026-13", "2026", "November", "0001-01", "9999-12", ""])
def test_a_month_is_written_one_way(text: str):
    """Anything else is said to be wrong."""
    with pytest.raises(UsageError):
        Month.parse(text)


def test_months_follow_each_other():
    """Over the end of a year too."""
    assert Month.parse("2026-12").following == Month(2027, 1)
    assert Month.parse("2026-11").following == Month(2026, 12)
    assert str(Month(2026, 3)) == "2026-03"
