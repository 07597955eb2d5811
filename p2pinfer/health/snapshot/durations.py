"""Times and durations in words, for the terminal."""

from __future__ import annotations

from datetime import datetime

from p2pinfer.health.snapshot.plain import LATEST_TIME

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def duration_in_words(seconds: float) -> str:
    """`47 s`, `12 min`, `3.4 h`, `12 d`; `-` for an impossible value."""
    if not 0 <= seconds <= LATEST_TIME:
        return "-"
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds / size
            return f"{count:.1f} {unit}" if count < 10 and unit != "min" else f"{int(count)} {unit}"
    return f"{int(seconds)} s"


def ago_in_words(seconds: float) -> str:
    """`20 s ago`; `at an unknown time` for an impossible value.

    Up to a minute in the future counts as now, because clocks differ.
    """
    words = duration_in_words(0.0 if -60 < seconds < 0 else seconds)
    return f"{words} ago" if words != "-" else "at an unknown time"


def time_in_words(at: float) -> str:
    """`2026-07-25 19:20:00 CEST`, in this machine's zone; `an unknown time` if impossible."""
    if not 0 <= at <= LATEST_TIME - 86_400:
        return "an unknown time"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
