"""Words and figures of page and terminal. Pure, and defined for any input. Sentences are in sentences.py.

Texts of strangers come out short and plain. Templates escape markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from p2pinfer.health.snapshot.plain import LATEST_TIME, NAME_CHARACTERS, clean_text
from p2pinfer.health.snapshot.state import (
    Activity,
    Answer,
    CellView,
    HealthState,
    ModelView,
    Population,
    ProbeView,
    ServerView,
)
from p2pinfer.plain_text import short_count
from p2pinfer.swarm.reach.claimed import ClaimedReach
from p2pinfer.types import Way

NOTHING = "–"
MOST_RELAYS = 4
UNMEASURED_SECONDS = 900.0
"""Rates that were measured longer ago are shown with the time."""

OLD_SECONDS = 120.0
"""A snapshot older than this is out of date: the page says so, and /healthz answers 503."""

_LARGEST_RATE = 1e6
_LARGEST_COUNT = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A time, for machines and for people."""

    iso: str  # 2026-07-25T17:20:00Z
    day: str  # 25 Jul 17:20 UTC
    clock: str  # 17:20:00 UTC
    seconds: int  # Unix


def plain(text: str, most: int = NAME_CHARACTERS) -> str:
    """`text` in one line of at most `most` characters, without control characters."""
    return clean_text(text, most)


def layers(start: int, end: int) -> str:
    """Half-open [start, end) with the last layer included, as people count: `10–19`, or `7`."""
    if end <= start:
        return NOTHING
    return str(start) if end == start + 1 else f"{_whole(start)}–{_whole(end - 1)}"


def layer_ranges(ranges: Iterable[tuple[int, int]], most: int = 4) -> str:
    """`layer 7`, `layers 0–9 and 20–29`, `layers 0–9, 12, 14, 16 and more`."""
    all_texts = [(layers(start, end), end - start) for start, end in ranges if end > start]
    texts = [text for text, _ in all_texts[:most]]
    if not texts:
        return "some layers"
    if len(all_texts) > most:
        texts.append("more")
    noun = "layer" if len(all_texts) == 1 and all_texts[0][1] == 1 else "layers"
    return f"{noun} {_and(texts)}"


def rate(value: float | None) -> str:
    """Tokens per second: `8.1`, `38.5`, `1,240`. `–` for an impossible value."""
    if value is None or not math.isfinite(value) or value < 0:
        return NOTHING
    if value >= _LARGEST_RATE:
        return "> 1M"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def work_rate(tokens_per_second: float | None, start: int, end: int) -> float | None:
    """Layer-tokens per second of a server that passes tokens through layers [start, end) at this rate.

    Servers with different numbers of layers compare by it, because every token costs every layer once.
    """
    if tokens_per_second is None or not math.isfinite(tokens_per_second) or end <= start:
        return None
    return tokens_per_second * (end - start)


def work(value: float | None) -> str:
    """Layer-tokens per second: `8.1`, `386`, `2.18k`. `–` for an impossible value."""
    if value is None or not math.isfinite(value) or value < 0:
        return NOTHING
    return rate(value) if value < 100 else count(int(min(value, float(_LARGEST_COUNT))))


def stale_since(measured_at: float | None, now: float) -> float | None:
    """When a server's rates were last measured, if that is too long ago to say nothing about it."""
    if measured_at is None or not measured_at < now - UNMEASURED_SECONDS:
        return None
    return measured_at


def seconds(value: float | None) -> str:
    """`0.42 s`."""
    if value is None or not math.isfinite(value) or not 0 <= value < 1e5:
        return NOTHING
    return f"{value:.2f} s" if value < 10 else f"{value:,.0f} s"


def count(value: int) -> str:
    """`987`, `120k`, `4.56M`."""
    if value < 0:
        return NOTHING
    return "> 999T" if value >= _LARGEST_COUNT else short_count(value)


def number_to_sort_by(value: float | None) -> str:
    """A plain number as a sort key; empty if there is none."""
    if value is None or not math.isfinite(value) or value < 0:
        return ""
    return f"{min(value, 1e18):.6g}"


def several(number: int, noun: str) -> str:
    """`1 server`, `3 servers`."""
    return f"{count(number)} {noun if number == 1 else f'{noun}s'}"


def about(number: Population | CellView) -> str:
    """`37`, or `about 12,000` where it is an estimate, or `at least 300`."""
    if number.most is None:
        return f"at least {count(number.least)}"
    return count(number.about) if number.least == number.most else f"about {_two_digits(number.about)}"


def likely(number: Population | CellView) -> str:
    """`9,100 to 17,000`; empty for a number that is exact, or that nothing bounds."""
    if number.most is None or number.least == number.most:
        return ""
    return f"{_two_digits(number.least)} to {_two_digits(number.most)}"


def moment(at: float | None) -> Moment | None:
    """The moment; None for an impossible time."""
    if at is None or not math.isfinite(at) or not 0 < at <= LATEST_TIME:
        return None
    day = datetime.fromtimestamp(at, UTC)
    return Moment(
        iso=day.strftime("%Y-%m-%dT%H:%M:%SZ"),
        day=f"{day.day} {day:%b %H:%M} UTC",
        clock=f"{day:%H:%M:%S} UTC",
        seconds=int(at),
    )


def age_seconds(state: HealthState, now: float) -> float:
    """Seconds since the swarm was read; infinite if unknown."""
    age = now - state.generated_at
    return max(0.0, age) if math.isfinite(age) else math.inf


def answer_word(answer: Answer, *, is_fresh: bool = True, is_sample: bool = False) -> str:
    """For a badge. In the past tense while the swarm can't be read. What a sample lacks may be elsewhere."""
    if is_sample and answer is not Answer.YES:
        if is_fresh:
            return "thin in sample" if answer is Answer.THIN else "gap in sample"
        return "was thin in sample" if answer is Answer.THIN else "had a gap in sample"
    if is_fresh:
        return {Answer.YES: "works", Answer.THIN: "thin", Answer.NO: "down"}[answer]
    return {Answer.YES: "worked", Answer.THIN: "was thin", Answer.NO: "was down"}[answer]


def activity_word(activity: Activity) -> str:
    """For a badge."""
    return str(activity)


def reached(server: ServerView) -> str:
    """How a server is reached: as this page did, else as the server says. `direct`, `relayed?`."""
    if server.way is not None:
        return str(server.way)
    return "–" if server.offers is ClaimedReach.UNKNOWN else f"{server.offers}?"


def relay_notes(server: ServerView) -> list[str]:
    """`at …abc123`, `relays for others`: the relays where a server is found, and whether it is one."""
    notes = [f"at {plain(relay, 8)}" for relay in server.relays[:MOST_RELAYS]]
    return [*notes, "relays for others"] if server.is_relay else notes


def model_name(model: ModelView) -> str:
    """The name that its servers chose, or its hash."""
    return plain(model.name) or f"model {plain(model.model, 12)}"


def probe_sentence(probe: ProbeView) -> str:
    """The result of the last attempt."""
    if not probe.works:
        return f"failed: {plain(probe.detail, 200) or 'for an unknown reason'}"
    return "worked"


def hops_of(probe: ProbeView, most: int) -> list[tuple[str, int, int, str]]:
    """The first hops of a probe's route: short peer id, layers [start, end), and the way if not directly."""
    ways = [*probe.route_ways[:most], *[None] * most]
    return [
        (plain(peer, 12), start, end, "" if way in (None, Way.DIRECT) else str(way))
        for (peer, start, end), way in zip(probe.route[:most], ways, strict=False)
    ]


def cut_to(start: int, end: int, num_layers: int) -> tuple[int, int]:
    """The part of [start, end) within the model; empty if there is none."""
    start = min(max(start, 0), max(num_layers, 0))
    return start, max(start, min(end, num_layers))


def _and(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _two_digits(number: int) -> str:
    """An estimate isn't better than that."""
    number = max(0, min(number, _LARGEST_COUNT))
    return f"{round(number, min(0, 2 - len(str(number)))):,}"


def _whole(number: int) -> str:
    return str(number) if abs(number) < 10**12 else f"{number:.1e}"
