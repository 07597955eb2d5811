"""`statement`: the month of the ledger, printed."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from p2pinfer.owner.__main__ import main
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.statement.text import CSV_COLUMNS
from p2pinfer.wire.receipts import Work
from tests.owner.signing import chain
from tests.owner.statement.months import RATES_TEXT, at, interval


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
