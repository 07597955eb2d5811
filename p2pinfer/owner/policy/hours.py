"""Hours of the week in local time, and when they next begin or end, also across clock changes.

Hours that the clock skips in spring are over as soon as they are skipped. Hours that it shows twice in autumn
count twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
EXAMPLE = '"mon-fri 22:00-07:00"'

_DAY_MINUTES = 24 * 60
_DAY_SECONDS = 24 * 3600
_HORIZON_SECONDS = 8 * _DAY_SECONDS  # a week repeats itself; one day more for clock changes
_TIMES = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The same hours on some days of the week. An end at or before the start is on the next day."""

    days: frozenset[int]  # on which the hours start; 0 is Monday
    start_minute: int  # of the day, 0 to 1439
    end_minute: int  # of the day, 0 to 1440; the first minute that is out

    def covers(self, local: datetime) -> bool:
        """True if this local time is in these hours."""
        day, minute = local.weekday(), local.hour * 60 + local.minute
        if self.start_minute < self.end_minute:
            return day in self.days and self.start_minute <= minute < self.end_minute
        begun_today = day in self.days and minute >= self.start_minute
        begun_yesterday = (day - 1) % 7 in self.days and minute < self.end_minute
        return begun_today or begun_yesterday

    def __str__(self) -> str:
        times = f"{_clock(self.start_minute)}-{_clock(self.end_minute)}"
        return times if len(self.days) == 7 else f"{_day_names(self.days)} {times}"


def parse_window(text: str) -> Window:
    """Read `mon-fri 22:00-07:00`, `sat,sun 00:00-24:00`, `22:00-06:00` (every day) or `sat` (the whole day).

    Raises ValueError, which says what is wrong.
    """
    found = _TIMES.search(text)
    if found is None:
        if re.search(r"[\d:]", text) or not text.strip():
            raise ValueError(f"hours such as {EXAMPLE} are expected")
        return Window(days=_parse_days(text), start_minute=0, end_minute=_DAY_MINUTES)
    if text[found.end() :].strip():
        raise ValueError(f"nothing is expected behind the times, as in {EXAMPLE}")
    days = text[: found.start()].strip()
    start, end = (_minute(found[first], found[first + 1]) for first in (1, 3))
    if start == _DAY_MINUTES:
        raise ValueError("24:00 can only be an end; the start of a day is 00:00")
    if start == end:
        raise ValueError("start and end are the same; the whole day is 00:00-24:00")
    return Window(days=_parse_days(days) if days else frozenset(range(7)), start_minute=start, end_minute=end)


def edges(windows: Iterable[Window]) -> frozenset[int]:
    """The minutes of a day at which one of `windows` may begin or end, and midnight."""
    times = {
        minute % _DAY_MINUTES for window in windows for minute in (window.start_minute, window.end_minute)
    }
    return frozenset(times | {0})


def next_time(
    holds: Callable[[datetime], bool], minutes: Collection[int], *, after: float, zone: tzinfo
) -> float | None:
    """The first Unix second after `after` at which `holds` is true of the local time; at `after` it is false.

    `holds` may change only at `minutes` of a day, which include midnight, and at clock changes. None if it
    stays false for a week.
    """
    moment = math.floor(after)
    while moment <= after + _HORIZON_SECONDS:
        local = datetime.fromtimestamp(moment, zone)
        passed = (local.hour * 60 + local.minute) * 60 + local.second
        edge = moment + min((minute * 60 - passed) % _DAY_SECONDS or _DAY_SECONDS for minute in minutes)
        moment = _clock_change(moment, edge, zone, local.utcoffset()) or edge
        if holds(datetime.fromtimestamp(moment, zone)):
            return float(moment)
    return None


def _clock_change(start: int, end: int, zone: tzinfo, offset: timedelta | None) -> int | None:
    """The second in (start, end] at which the clock leaves `offset`; None if `end` still has `offset`."""
    if datetime.fromtimestamp(end, zone).utcoffset() == offset:
        return None
    while end - start > 1:
        middle = (start + end) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            start = middle
        else:
            end = middle
    return end


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in re.split(r"[,\s]+", re.sub(r"\s*-\s*", "-", text.strip(" ,").lower())):
        first, dash, last = part.partition("-")
        begin = _day(first)
        length = (_day(last) - begin) % 7 if dash else 0
        days.update((begin + step) % 7 for step in range(length + 1))
    return frozenset(days)


def _day(word: str) -> int:
    if word[:3] in DAYS and _FULL_DAYS[DAYS.index(word[:3])].startswith(word):
        return DAYS.index(word[:3])
    raise ValueError(f'"{word}" is not a day: {", ".join(DAYS)} are')


def _minute(hour: str, minute: str) -> int:
    total = int(hour) * 60 + int(minute)
    if int(minute) > 59 or total > _DAY_MINUTES:
        raise ValueError(f"{hour}:{minute} is not a time of day: 00:00 to 24:00 are")
    return total


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _day_names(days: frozenset[int]) -> str:
    """`mon-fri`, `sat,sun`: three or more days in a row are shown by the first and the last."""
    parts: list[str] = []
    for start in sorted(day for day in days if (day - 1) % 7 not in days):
        length = next(step for step in range(1, 8) if (start + step) % 7 not in days)
        run = [DAYS[(start + step) % 7] for step in range(length)]
        parts += [f"{run[0]}-{run[-1]}"] if length > 2 else run
    return ",".join(parts)
