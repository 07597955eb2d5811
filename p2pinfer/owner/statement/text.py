"""A statement for people, in 100 columns, and for programs, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

from p2pinfer.command_line.tables import Column, table, table_width
from p2pinfer.owner.ledger.interval import JOULES_PER_KWH, EnergySource
from p2pinfer.owner.statement.figures import Figures, Money
from p2pinfer.owner.statement.statement import Statement
from p2pinfer.owner.states import OwnerState
from p2pinfer.plain_text import bytes_in_words, printable, short_count
from p2pinfer.types import short_id

CSV_COLUMNS = (
    "day",
    "sessions",
    "prefill_layer_tokens_signed",
    "decode_layer_tokens_signed",
    "layer_tokens_signed_without_rate",
    "layer_tokens_unsigned",
    "seconds_served",
    "joules_rapl",
    "joules_signal",
    "joules_estimate",
    "shared_bytes",
    "currency",
    "cost",
    "cost_is_complete",
    "credit",
    "net",
)
"""A day with several currencies has a line for each; later lines have values for day and money only."""

_NUMBERS = (
    "sessions",
    "signed\nprefill",
    "signed\ndecode",
    "no\nrate",
    "unsigned",
    "hours\nserved",
    "energy\nkWh",
    "cost",
    "credit",
    "net",
)
"""Titles of the columns between the day and the currency."""

_MAX_CHANGES = 12
_SOURCES = {
    EnergySource.RAPL: "measured by the processor (RAPL)",
    EnergySource.SIGNAL: "measured by your meter",
    EnergySource.ESTIMATE: "estimated (~) from computing time",
}

_TOLD = {OwnerState.SERVING: "serving", OwnerState.PAUSED: "stopped", OwnerState.OFF: "ended"}
"""The states that owners look for. Joining and draining only lead to them."""


def as_table(
    statement: Statement,
    to_local: Callable[[float], datetime],
    *,
    export: str = "python -m p2pinfer.owner export --out FILE",
) -> str:
    """The month's table, the latest changes of state, and what the figures mean.

    `export` is the command that writes the receipts to a file.
    """
    total = statement.total
    parts = [f"{statement.month.first:%B %Y}", ""]
    if statement.days:
        parts += _table(statement, total)
        parts += ["", *_notes(total)]
    else:
        parts.append("No receipts in this month, and no other entries.")
    if statement.changes:
        parts += ["", "Latest changes"]
        several = len({change.server for change in statement.changes}) > 1
        changes = [change for change in statement.changes if change.state in _TOLD]
        for change in changes[-_MAX_CHANGES:]:
            server = f"  {short_id(change.server)}" if several else ""
            why = f": {printable(change.words, 80)}" if change.words else ""
            parts.append(f"  {to_local(change.at):%a %d %H:%M}{server}  {_TOLD[change.state]}{why}")
    if statement.days:
        parts += ["", *_MEANING, export]
    return "\n".join(parts) + "\n"


_MEANING = (
    "A signature proves that the client has signed: not that anybody pays, and not that client and owner",
    "are different people. Credit is the signed work times the published rates. It becomes money when the",
    "sponsor redeems the receipts, which you write to a file:",
)


def as_csv(statement: Statement) -> str:
    """One line for each day and currency, with exact numbers (RFC 4180). Money has six decimal places."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for day, figures in statement.days:
        work: tuple[object, ...] = (
            figures.sessions,
            figures.prefill_layer_tokens,
            figures.decode_layer_tokens,
            figures.unrated_layer_tokens,
            figures.unsigned_layer_tokens,
            f"{figures.seconds_served:.1f}",
            *(f"{figures.joules.get(source, 0.0):.1f}" for source in EnergySource),
            figures.shared_bytes,
        )
        for currency, money in sorted(figures.money.items()) or [("", Money())]:
            writer.writerow((day.isoformat(), *work, currency, *_exact(money)))
            work = ("",) * len(work)
    return text.getvalue()


def _exact(money: Money) -> tuple[str, ...]:
    complete = "no" if money.unpriced else "yes"
    known = money.priced or not money.unpriced
    cost, net = (f"{amount:.6f}" if known else "" for amount in (money.cost, money.net))
    return cost, complete, f"{money.credit:.6f}", net


def _table(statement: Statement, total: Figures) -> list[str]:
    rows = [row for day, figures in statement.days for row in _rows(_day_name(day), figures)]
    rows_of_total = _rows("total", total)
    names, *numbers, currencies = zip(*rows, *rows_of_total, strict=True)
    columns = [
        Column(title="day", cells=names),
        *(
            Column(title=title, cells=cells, align_right=True)
            for title, cells in zip(_NUMBERS, numbers, strict=True)
        ),
        Column(title="", cells=currencies, gap=1),
    ]
    lines = table(columns)
    ruler = "-" * (table_width(columns) + 1)
    return [*lines[: -len(rows_of_total)], ruler, *lines[-len(rows_of_total) :]]


def _day_name(day: date) -> str:
    return f"{day:%a %d}"


def _rows(name: str, figures: Figures) -> list[list[str]]:
    """A row for each currency; the first row has the other figures too."""
    energy = _kwh(figures.total_joules)
    work = [
        name,
        str(figures.sessions),
        short_count(figures.prefill_layer_tokens),
        short_count(figures.decode_layer_tokens),
        short_count(figures.unrated_layer_tokens),
        short_count(figures.unsigned_layer_tokens),
        f"{figures.seconds_served / 3600:.1f}",
        f"~{energy}" if figures.is_estimated else energy,
    ]
    rows = []
    for currency, money in sorted(figures.money.items()) or [("", Money())]:
        rows.append([*work, *_amounts(money), printable(currency, 8)])
        work = [""] * len(work)
    return rows


def _amounts(money: Money) -> list[str]:
    credit = _short(money.credit)
    if not money.unpriced:
        return [_short(money.cost), credit, _short(money.net, sign=True)]
    if not money.priced:
        return ["-", credit, "-"]
    return [f">{_short(money.cost)}", credit, f"<{_short(money.net, sign=True)}"]


def _short(amount: Decimal, *, sign: bool = False) -> str:
    """Two decimal places; four for amounts below 1, none from 10,000 on."""
    if not amount:
        return "0.00"
    places = 4 if abs(amount) < 1 else 2 if abs(amount) < 10_000 else 0
    return f"{amount:+.{places}f}" if sign else f"{amount:.{places}f}"


def _kwh(joules: float) -> str:
    kwh = joules / JOULES_PER_KWH
    return f"{kwh:.2f}" if kwh >= 0.1 else f"{kwh:.4f}"


def _notes(total: Figures) -> list[str]:
    notes = []
    found = [
        f"{_kwh(joules)} kWh {_SOURCES[source]}"
        for source in EnergySource
        if (joules := total.joules.get(source, 0.0)) > 0
    ]
    if found:
        notes.append(f"Energy: {', '.join(found)}.")
    if total.shared_bytes:
        notes.append(f"Shared: {bytes_in_words(total.shared_bytes)} of model files sent to other machines.")
    if any(money.unpriced for money in total.money.values()):
        notes.append("- and >: some energy has no known price: the cost is higher than shown (policy.toml).")
    if total.unrated_layer_tokens:
        notes.append("No rate: signed work of clients without a rate for that day (rates.toml).")
    if total.unsigned_layer_tokens:
        notes.append("Unsigned: work that no client has signed for. Nobody pays for it.")
    if not total.prefill_layer_tokens + total.decode_layer_tokens:
        notes.append("No receipts in this month: your servers had no clients, or no client signed.")
    return [*notes, "Work is in layer-tokens: tokens times the layers of your server that they went through."]
