"""`python -m p2pinfer.owner statement`: what this machine's servers did in a month, their cost and credit."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

from p2pinfer.owner.command_text import owner_command
from p2pinfer.owner.elsewhere import elsewhere
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.statement.month import Month
from p2pinfer.owner.statement.rates import Rate, rates_in_use
from p2pinfer.owner.statement.statement import Statement, make_statement
from p2pinfer.owner.statement.text import as_csv, as_table

HELP = "show a month's work, energy, cost and credit, day by day"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument("--month", metavar="YYYY-MM", help="the month to show (default: this month)")
    parser.add_argument(
        "--csv", action="store_true", help="print exact numbers for a spreadsheet instead of a table"
    )
    parser.add_argument(
        "--rates",
        type=Path,
        metavar="FILE",
        help="what sponsors pay (default: rates.toml in the data folder, if there is one)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the statement. Raises UsageError, and LedgerError if the ledger can't be read."""
    files = OwnerFiles(args.data_folder)
    month = Month.parse(args.month) if args.month else Month.of(datetime.now())
    rates = rates_in_use(args.rates, files)
    if not files.ledger.exists():
        if not args.csv:
            print(f"No receipts yet: the ledger in {files.folder} begins with the first work of a server.")
            if hint := elsewhere("statement", files.folder):
                print(f"But {hint}")
            return 0
        statement = Statement(month=month, days=(), changes=())
    else:
        with Ledger.open(files.ledger) as ledger:
            statement = _of_month(ledger, month, rates)
    if args.csv:
        sys.stdout.write(as_csv(statement))
    else:
        export = owner_command("export --out FILE", files.folder)
        sys.stdout.write(as_table(statement, datetime.fromtimestamp, export=export))
    return 0


def _of_month(ledger: Ledger, month: Month, rates: tuple[Rate, ...]) -> Statement:
    since, until = month.first.timestamp(), month.following.first.timestamp()
    return make_statement(
        month,
        receipts=ledger.receipts(since=since, until=until),
        sessions=ledger.sessions(since=since, until=until),
        small_work=ledger.small_work(since=since, until=until),
        intervals=ledger.intervals(since=since, until=until),
        transitions=ledger.transitions(since=since, until=until),
        rates=rates,
        to_local=datetime.fromtimestamp,
    )
