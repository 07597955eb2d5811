"""Which readings can be relied on (fresh, of the right type, possible), and what is wrong with the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from p2pinfer.owner.signals.config import Command, Entity, FileText, Host, MqttTopic, Source
from p2pinfer.owner.signals.readings import KINDS, Reading, Signal, Value
from p2pinfer.plain_text import printable

_FUTURE_SECONDS = 5.0  # a source's clock may be ahead of ours by this

_POSSIBLE: Mapping[Signal, tuple[float, float]] = {
    Signal.BATTERY_PERCENT: (0.0, 110.0),  # worn batteries report a little over 100
    Signal.BATTERY_CELSIUS: (-60.0, math.inf),  # broken sensors report -127, or 0 K
    Signal.MACHINE_CELSIUS: (-60.0, math.inf),
    Signal.WATTS: (0.0, math.inf),
    Signal.TRAFFIC_BYTES: (0.0, math.inf),
}
"""The range of each number. Anything else is a broken source, or a wrong scale in the owner's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Why a signal's value isn't certain."""

    code: str  # missing-signal, stale-signal or bad-signal
    words: str
    seconds: float = 0.0  # for how long nothing was heard


def certain_value(
    signal: Signal, reading: Reading | None, source: Source | None, *, now: float, stale_seconds: float
) -> Value | Doubt:
    """The value of `signal` if it can be relied on at `now` (Unix seconds). Numbers are finite floats."""
    if reading is None:
        return Doubt(code="missing-signal", words=f"nothing is known of {signal} ({describe_source(source)})")
    origin = printable(reading.origin) or describe_source(source)
    at = finite_number(reading.at)
    if at is None or at > now + _FUTURE_SECONDS:
        return Doubt(code="bad-signal", words=f"{signal} is dated in the future: check the clocks ({origin})")
    if now - at > stale_seconds:
        words = f"nothing heard of {signal} for {duration(now - at)} ({origin})"
        return Doubt(code="stale-signal", words=words, seconds=now - at)
    value: Value | None = reading.value
    if KINDS[signal] is float:
        value = finite_number(value)
        low, high = _POSSIBLE.get(signal, (-math.inf, math.inf))
        if value is not None and not low <= value <= high:
            return Doubt(code="bad-signal", words=f"{signal} can't be {value:g} ({origin})")
    elif not isinstance(value, KINDS[signal]):
        value = None
    if value is None:
        kind = {bool: "true or false", float: "a number", str: "a text"}[KINDS[signal]]
        return Doubt(code="bad-signal", words=f"{signal} isn't {kind} ({origin})")
    return value


def describe_source(source: Source | None) -> str:
    """The source of a signal, in words for people."""
    match source:
        case MqttTopic(topic=topic):
            return f"mqtt {topic}"
        case Entity(entity_id=entity_id, attribute=attribute):
            return f"home_assistant {entity_id}{f' {attribute}' if attribute else ''}"
        case FileText(path=path):
            return f"file {path}"
        case Command():
            return f"command {source.shown}"
        case Host():
            return "this machine"
        case None:
            return "it has no source"


def finite_number(value: object) -> float | None:
    """`value` as a float; None if it isn't a number, isn't finite, or doesn't fit into a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def duration(seconds: float) -> str:
    """`75 s`, `10 min` or `3 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
