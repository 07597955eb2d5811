"""Rates: what the file says is what counts, and what is wrong in it is named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner.statement.rates import parse_rates, rate_of, read_rates
from tests.owner.signing import CLIENT, STRANGER
from tests.owner.statement.months import RATES_TEXT, at


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


@pytest.mark.parametrize("text", ["a = " + "[" * 30_000, "a = " + "9" * 5_000, "a = 1e99999999999"])
def test_a_rates_file_that_nobody_would_write_is_a_sentence(text):
    with pytest.raises(UsageError, match=r"^rates file "):
        parse_rates(text, "rates.toml")
