"""Servers as bars over their layers, for models with few servers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import Activity, ServerView
from p2pinfer.health.web.rendering.scale import STATE_ORDER, percent

ROW_PIXELS = 26

_MOST_ROWS = 40
_LABEL_FITS_PERCENT = 9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One server: x and width in percent, y in pixels."""

    key: str
    x: float
    width: float
    y: int
    state: str
    label: str  # empty where it wouldn't fit
    title: str


def bars_of(servers: Sequence[ServerView], total: int) -> tuple[Bar, ...]:
    """Bars packed like bricks: servers whose layers don't overlap share a row."""
    rows: list[list[tuple[int, int]]] = []
    bars = []
    for server in sorted(servers, key=lambda one: (STATE_ORDER[one.state], one.start, -one.end, one.peer_id)):
        start, end = words.cut_to(server.start, server.end, total)
        row = next((row for row, taken in enumerate(rows) if _free(taken, start, end)), len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append((start, end))
        width = percent(end - start, total)
        short_id = words.plain(server.short_id, 12)
        name = words.plain(server.public_name) or short_id
        state = words.activity_word(server.state)
        said = name if server.state is Activity.SERVING else f"{name}, {state}"
        bars.append(
            Bar(
                key=words.plain(server.peer_id),
                x=percent(start, total),
                width=width,
                y=row * ROW_PIXELS,
                state=state,
                label=said if width >= _LABEL_FITS_PERCENT else "",
                title=f"{name} ({short_id}): {words.layer_ranges([(start, end)])}, {state}",
            )
        )
    return tuple(bar for bar in bars if bar.y < _MOST_ROWS * ROW_PIXELS)


def _free(taken: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    return all(end <= other_start or other_end <= start for other_start, other_end in taken)
