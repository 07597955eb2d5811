"""How the page and the terminal say things to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from p2pinfer.health.plain import LATEST_TIME
from p2pinfer.health.state import Answer, ModelView

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def answer_in_words(model: ModelView) -> str:
    """A sentence: whether it can generate now, and if not, why."""
    if model.answer is Answer.YES:
        return "It can generate now, and goes on if any one server leaves."
    if model.answer is Answer.THIN:
        return "It can generate now, but would stop if one particular server left."
    if model.missing:
        return f"It can't generate now: nobody serves {layers_in_words(model.missing)}."
    return (
        "It can't generate now: every layer is served, but no servers that compute alike hold all of them "
        "together."
    )


def layers_in_words(spans: Sequence[tuple[int, int]], most: int = 6) -> str:
    """`layers 10-19 and 25`: as people count them, the last one included; at most so many stretches.

    >>> layers_in_words([(10, 20), (25, 26)])
    'layers 10-19 and 25'
    """
    real = [(start, end) for start, end in spans if 0 <= start < end]
    names = [str(start) if end - start == 1 else f"{start}-{end - 1}" for start, end in real[:most]]
    if len(real) > most:
        names.append(f"{len(real) - most} more stretches")
    if not names:
        return "some layers"
    word = "layer" if len(names) == 1 and "-" not in names[0] else "layers"
    commas, last = ", ".join(names[:-1]), names[-1]
    return f"{word} {commas} and {last}" if commas else f"{word} {last}"


def duration_in_words(seconds: float) -> str:
    """`47 s`, `12 min`, `3.4 h`, `12 d`; `-` for what is no duration."""
    if not 0 <= seconds <= LATEST_TIME:
        return "-"
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds / size
            return f"{count:.1f} {unit}" if count < 10 and unit != "min" else f"{int(count)} {unit}"
    return f"{int(seconds)} s"


def ago_in_words(seconds: float) -> str:
    """`20 s ago`; a clock that is a little off makes it now; `at an unknown time` for what is no duration."""
    words = duration_in_words(0.0 if -60 < seconds < 0 else seconds)
    return f"{words} ago" if words != "-" else "at an unknown time"


def rate_in_words(value: float | None) -> str:
    """`0.42`, `38.5`, `940`: two figures or more; `-` where it isn't known or can't be."""
    if value is None or not 0 < value < 1e15:
        return "-" if value != 0 else "0"
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def time_in_words(at: float) -> str:
    """`2026-07-25 19:20:00 CEST`, in this machine's zone; `an unknown time` for what is no time."""
    if not 0 <= at <= LATEST_TIME - 86_400:
        return "an unknown time"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
