"""Text in a terminal's columns: what takes two of them, what none, and tables that fit."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table, its cells from top to bottom."""

    title: str
    cells: Sequence[str]
    align_right: bool = False
    rank: int = 0  # what doesn't fit is left out, the highest first; 0 stays
    most: int = 40  # terminal columns; longer cells are cut

    def width(self) -> int:
        """Terminal columns that it needs."""
        return min(self.most, max(map(display_width, (self.title, *self.cells))))


def display_width(text: str) -> int:
    """Terminal columns that a printable text takes: wide letters take two, combining marks none.

    By Unicode's East Asian Width (UAX 11), as terminals do; those of one letter may differ for emoji that
    are put together from several.
    """
    return len(text) if text.isascii() else sum(map(_sign_width, text))


def fit(text: str, columns: int, *, align_right: bool = False) -> str:
    """`text` in exactly so many terminal columns: filled with blanks, or cut with an ellipsis."""
    missing = columns - display_width(text)
    if missing < 0:
        text = _cut(text, columns - 1) + "…" if columns > 0 else ""
        missing = columns - display_width(text)
    return " " * missing + text if align_right else text + " " * missing


def table(columns: Sequence[Column], width: int) -> list[str]:
    """The lines of a table at most so wide, its titles first. Raises ValueError if there are no columns."""
    kept = [column for column in columns if column.cells or column.rank == 0]
    while _width(kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    widths = [column.width() for column in kept]
    too_wide = _width(kept) - width
    if too_wide > 0:  # the widest gives way
        widest = widths.index(max(widths))
        widths[widest] = max(1, widths[widest] - too_wide)
    rows = zip(*(column.cells for column in kept), strict=True)
    lines = [
        _GAP.join(
            fit(cell, columns, align_right=column.align_right)
            for cell, columns, column in zip(row, widths, kept, strict=True)
        ).rstrip()
        for row in ([column.title for column in kept], *rows)
    ]
    return [line if display_width(line) <= width else fit(line, width) for line in lines]


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width() for column in columns) + len(_GAP) * (len(columns) - 1)


def _cut(text: str, columns: int) -> str:
    taken = 0
    for index, sign in enumerate(text):
        taken += _sign_width(sign)
        if taken > columns:
            return text[:index]
    return text


def _sign_width(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1
