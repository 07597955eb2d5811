"""Text in a terminal's columns: wide letters, combining marks, and tables that fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table, its cells from top to bottom."""

    title: str  # a line break in it makes another line of titles
    cells: Sequence[str]
    align_right: bool = False
    rank: int = 0  # in a table that is too wide the column with the highest rank goes first; 0 always stays
    most: int = 40  # terminal columns; longer cells are cut
    gap: int = 2  # blanks before it, unless it is the first

    def width(self) -> int:
        """Terminal columns of the widest cell or title, at most `most`."""
        return min(self.most, max(map(display_width, (*self.title.split("\n"), *self.cells))))


def display_width(text: str) -> int:
    """Terminal columns that a printable text takes: wide letters take two, combining marks none.

    It is the sum over the characters. Some terminals draw an emoji that is put together from several
    characters in fewer columns.
    """
    return len(text) if text.isascii() else sum(map(_sign_width, text))


def fit(text: str, columns: int, *, align_right: bool = False) -> str:
    """`text` in exactly `columns` terminal columns: filled with blanks, or cut with an ellipsis."""
    missing = columns - display_width(text)
    if missing < 0:
        text = _cut(text, columns - 1) + "…" if columns > 0 else ""
        missing = columns - display_width(text)
    return " " * missing + text if align_right else text + " " * missing


def table(columns: Sequence[Column], width: int | None = None) -> list[str]:
    """The lines of a table, titles first, each at most `width` terminal columns if that is given.

    Raises ValueError if there are no columns.
    """
    kept = [column for column in columns if column.cells or column.rank == 0]
    while width is not None and table_width(kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    widths = [column.width() for column in kept]
    too_wide = 0 if width is None else table_width(kept) - width
    if too_wide > 0:  # the widest gives way
        widest = widths.index(max(widths))
        widths[widest] = max(1, widths[widest] - too_wide)
    titles = zip(*_title_rows([column.title for column in kept]), strict=True)
    rows = zip(*(column.cells for column in kept), strict=True)
    lines = [_line(row, widths, kept) for row in (*titles, *rows)]
    return [line if width is None or display_width(line) <= width else fit(line, width) for line in lines]


def table_width(columns: Sequence[Column]) -> int:
    """Terminal columns of a table that nothing is cut from."""
    return sum(column.width() for column in columns) + sum(column.gap for column in columns[1:])


def _line(row: Iterable[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    line = ""
    for cell, width, column in zip(row, widths, columns, strict=True):
        line += (" " * column.gap if column is not columns[0] else "") + fit(
            cell, width, align_right=column.align_right
        )
    return line.rstrip()


def _title_rows(titles: Sequence[str]) -> list[list[str]]:
    """The lines of each title, filled from above: all titles end on the lowest line."""
    upwards = zip_longest(*(reversed(title.split("\n")) for title in titles), fillvalue="")
    return [list(title) for title in zip(*reversed(list(upwards)), strict=True)]


def _cut(text: str, columns: int) -> str:
    taken = 0
    for index, sign in enumerate(text):
        taken += _sign_width(sign)
        if taken > columns:
            return text[:index]
    return text


def _sign_width(sign: str) -> int:
    from wcwidth import wcwidth  # here: flags can be read before anything is installed

    return max(0, wcwidth(sign))  # -1: a control character
