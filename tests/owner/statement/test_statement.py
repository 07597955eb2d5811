"""A month's figures, and how they look to people and to programs."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.owner.__main__ import main
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.entries import EndedSession, SignedWork, Transition
from p2pinfer.owner.ledger.interval import EnergySource, Interval
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.statement.rates import Rate, parse_rates, rate_of, read_rates
from p2pinfer.owner.statement.statement import Month, Statement, make_statement
from p2pinfer.owner.statement.text import CSV_COLUMNS, as_csv, as_table
from p2pinfer.owner.states import OwnerState
from p2pinfer.plain_text import printable, short_count
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipts import Work
from tests.owner.signing import CLIENT, SERVER, SESSION, STRANGER, chain

NOVEMBER = Month(2026, 11)
RATES_TEXT = f"""
[[sponsor]]
client = "{CLIENT.peer_id}"
name = "Example Foundation"
currency = "EUR"
per_million_prefill_layer_tokens = 0.1
per_million_decode_layer_tokens = 2
valid_from = 2026-01-01
"""
RATES = parse_rates(RATES_TEXT, "rates.toml")


def utc(at: float) -> datetime:
    """What the clock on the wall shows in Greenwich."""
    return datetime.fromtimestamp(at, UTC)


def at(day: int, hour: float = 12.0) -> float:
    """Unix seconds of a moment in November."""
    return datetime(2026, 11, day, tzinfo=UTC).timestamp() + 3600 * hour


def signed_work(when: float, prefill: int, decode: int, **changes: Any) -> SignedWork:
    """Of ten layers."""
    fields = {
        "server": SERVER.peer_id,
        "session_id": SESSION,
        "client": CLIENT.public_key,
        "model": "a" * 64,
        "layers": Span(10, 20),
        "added": Work(prefill, decode),
        "issued_at": when,
        "added_at": when,
    }
    return SignedWork(**(fields | changes))


def ended(when: float, done: Work, signed: Work, session_id: SessionId = SESSION) -> EndedSession:
    return EndedSession(
        server=SERVER.peer_id,
        session_id=session_id,
        client=CLIENT.public_key,
        model="a" * 64,
        layers=Span(10, 20),
        work=done,
        signed=signed,
        started_at=when - 60,
        ended_at=when,
    )


def interval(when: float, hours: float = 1.0, **changes: Any) -> Interval:
    """An hour of serving, for 0.36 kWh."""
    fields = {
        "server": SERVER.peer_id,
        "started_at": when,
        "ended_at": when + 3600 * hours,
        "state": OwnerState.SERVING,
        "joules": 1_296_000.0,
        "energy_source": EnergySource.RAPL,
        "cpu_seconds": 3000.0,
        "price": 0.25,
        "currency": "EUR",
        "sent_bytes": 0,
        "received_bytes": 0,
    }
    return Interval(**(fields | changes))


def statement(**parts: Any) -> Statement:
    """Of November, in Greenwich."""
    empty: dict[str, Any] = {
        "receipts": [],
        "sessions": [],
        "intervals": [],
        "transitions": [],
        "rates": RATES,
        "to_local": utc,
    }
    return make_statement(NOVEMBER, **(empty | parts))


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


def test_unsigned_work_counts_when_its_session_ends():
    """What was done less what was signed, by kind."""
    made = statement(sessions=[ended(at(4), Work(30, 12), Work(30, 10)), ended(at(4), Work(0, 1), Work())])

    assert made.total.unsigned_layer_tokens == 20 + 10


def test_clients_without_a_rate_are_counted_apart():
    """Also those whose rate was not valid yet when they signed."""
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
    assert "A signature proves that the client has said so" in table


def test_a_month_without_receipts_is_told_so():
    """Hours and energy are shown all the same."""
    table = as_table(statement(intervals=[interval(at(2))]), utc)

    assert "No receipts in this month" in table and "0.36" in table
    assert "nothing else was noted" in as_table(statement(), utc)


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


# Rates


def test_a_rate_is_what_stands_in_the_file():
    """To the last digit."""
    text = RATES_TEXT.replace("0.1\n", "0.100000000000000005\n") + "valid_until = 2026-11-30\n"
    [rate] = parse_rates(text, "rates.toml")

    assert rate.per_million_prefill_layer_tokens == Decimal("0.100000000000000005")
    assert rate.credit(10**6, 10**6) == Decimal("2.100000000000000005")
    assert rate.valid_until == date(2026, 11, 30)


def test_the_rate_is_that_of_the_day():
    """Both ends of its time belong to it, in UTC; a later one takes its place."""
    later = RATES_TEXT.replace("2026-01-01", "2026-06-01\nvalid_until = 2026-06-30").replace("= 2\n", "= 3\n")
    rates = parse_rates(RATES_TEXT + later, "rates.toml")

    def decode_rate(*day: int) -> Decimal | None:
        rate = rate_of(rates, CLIENT.peer_id, datetime(*day, tzinfo=UTC).timestamp())  # type: ignore[misc]
        return rate and rate.per_million_decode_layer_tokens

    assert decode_rate(2025, 12, 31, 23, 59, 59) is None
    assert decode_rate(2026, 1, 1) == 2
    assert decode_rate(2026, 6, 1) == 3
    assert decode_rate(2026, 6, 30, 23, 59, 59) == 3
    assert decode_rate(2026, 7, 1) == 2
    assert rate_of(rates, STRANGER.peer_id, at(2)) is None
    assert rate_of(rates, CLIENT.peer_id, 1e300) == rates[0]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[[sponsor]]", "[sponsor]", "double brackets"),
        ("[[sponsor]]", "[[sponser]]", "'sponser' is unknown"),
        ("[[sponsor]]", "[[sponsor", "line 2"),
        ('name = "Example Foundation"\n', "", "sponsor 1: name is missing"),
        ("Foundation", "\\n", "name has to be"),
        ("12D3Koo", "12D3Kop", r"sponsor 1 \(Example Foundation\): client has to be a peer id"),
        ('"EUR"', "978", "currency has to be"),
        ('"EUR"', '"E R"', "currency has to be"),
        ("= 0.1", "= -0.1", "per_million_prefill_layer_tokens has to be a number"),
        ("= 0.1", '= "0.1"', "has to be a number"),
        ("= 0.1", "= nan", "has to be a number"),
        ("= 0.1", "= true", "has to be a number"),
        ("= 0.1", "= 1e400", "has to be a number"),
        ("= 0.1", "= 1e-30", "decimal places"),
        ("2026-01-01", '"2026-01-01"', "valid_from has to be a date"),
        ("2026-01-01", "2026-01-01T00:00:00Z", "valid_from has to be a date"),
        ("2026-01-01", "2026-01-01\nvalid_until = 2025-01-01", "valid_until is before"),
        ("2026-01-01", "2026-01-01\nuntil = 2025-01-01", "'until' is unknown"),
        (
            "2026-01-01\n",
            f"2026-01-01\n{RATES_TEXT}",
            "sponsor 2: the same client and valid_from as sponsor 1",
        ),
    ],
)
def test_a_wrong_rate_is_named(old: str, new: str, reason: str):
    """File, entry, and what is expected."""
    with pytest.raises(UsageError, match=rf"^rates file rates\.toml.*{reason}"):
        parse_rates(RATES_TEXT.replace(old, new, 1), "rates.toml")


def test_a_file_that_cant_be_read_is_named(tmp_path: Path):
    """Whether it is missing or isn't text."""
    with pytest.raises(UsageError, match=r"missing\.toml can't be read"):
        read_rates(tmp_path / "missing.toml")
    (tmp_path / "rates.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        read_rates(tmp_path / "rates.toml")


# The command


@pytest.fixture
def files(tmp_path: Path) -> OwnerFiles:
    """With one day in the ledger, and a published rate."""
    with Ledger.open(OwnerFiles(tmp_path).ledger, now=lambda: at(2)) as ledger:
        ledger.add_receipts(chain(Work(100_000, 0), Work(100_000, 200_000), issued_at=at(2)))
        ledger.add_interval(interval(at(2)))
    OwnerFiles(tmp_path).rates.write_text(RATES_TEXT)
    return OwnerFiles(tmp_path)


def test_the_command_prints_the_month(files: OwnerFiles, capsys: pytest.CaptureFixture[str]):
    """With the rates of the data folder."""
    assert main(["--data-folder", str(files.folder), "statement", "--month", "2026-11"]) == 0

    output = capsys.readouterr().out
    assert "November 2026" in output and "1.00M" in output and "2.00M" in output and "+4.01 EUR" in output


def test_the_command_takes_other_rates(files: OwnerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """And prints CSV."""
    (tmp_path / "other.toml").write_text(RATES_TEXT.replace("= 2\n", "= 10\n"))
    flags = ["statement", "--month", "2026-11", "--csv", "--rates", str(tmp_path / "other.toml")]

    assert main([*flags, "--data-folder", str(files.folder)]) == 0
    [line] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert line["credit"] == "20.100000"


def test_without_a_ledger_the_command_says_so_and_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A program still gets its header."""
    assert main(["--data-folder", str(tmp_path / "new"), "statement"]) == 0
    assert "No receipts yet" in capsys.readouterr().out

    assert main(["--data-folder", str(tmp_path / "new"), "statement", "--csv"]) == 0
    assert capsys.readouterr().out == ",".join(CSV_COLUMNS) + "\r\n"
    assert not (tmp_path / "new").exists()


def rate(**changes: Any) -> Rate:
    """The one above, with changes."""
    return Rate(**({name: getattr(RATES[0], name) for name in Rate.__slots__} | changes))


def test_absurd_amounts_are_printed_all_the_same():
    """Decimal would rather raise than round."""
    made = statement(
        receipts=[signed_work(at(2), 2**62, 0, layers=Span(0, 2**20))],
        rates=[rate(per_million_prefill_layer_tokens=Decimal("999999999.123456789"))],
    )

    assert "EUR" in as_table(made, utc) and "EUR" in as_csv(made)
