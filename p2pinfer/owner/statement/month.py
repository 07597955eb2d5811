"""A month of the calendar where the owner lives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from p2pinfer.errors import UsageError

_FIRST_YEAR, _LAST_YEAR = 1971, 9998  # the years that the clocks of all systems can tell, in every time zone


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month such as 2026-11."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read `2026-11`. Raises UsageError."""
        try:
            first = datetime.strptime(text, "%Y-%m")
        except ValueError as error:
            raise UsageError(f"a month is written like 2026-11, not {text!r}") from error
        if not _FIRST_YEAR <= first.year <= _LAST_YEAR:
            raise UsageError(f"{text}: years from 1971 to 9998 are expected")
        return cls.of(first)

    @classmethod
    def of(cls, local: datetime) -> Month:
        """The month that contains a time."""
        return cls(local.year, local.month)

    @property
    def first(self) -> datetime:
        """The first moment of the month, in local time."""
        return datetime(self.year, self.month, 1)

    @property
    def following(self) -> Month:
        """The next month."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"
