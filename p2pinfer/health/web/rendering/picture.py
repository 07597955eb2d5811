"""The picture of a model's coverage as numbers: bars or stacks, the strip below them, ticks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import ModelView, ServerView, Stretch
from p2pinfer.health.web.rendering.bars import ROW_PIXELS, Bar, bars_of
from p2pinfer.health.web.rendering.scale import STATE_ORDER, percent
from p2pinfer.health.web.rendering.stacks import STACK_PIXELS, Segment, segments_of
from p2pinfer.health.web.rendering.strip import LEVELS, MOST_CELLS, Cell, cells_of, replicas_in_words

MOST_BARS = 60
"""With more servers no reader can tell bars apart, so the picture counts servers per layer instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The number of a layer below the picture."""

    x: float
    anchor: str  # start, middle or end
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The whole picture, with either bars or segments."""

    height: int  # pixels of bars or segments
    bars: tuple[Bar, ...]
    segments: tuple[Segment, ...]
    most_servers: str  # of the highest stack
    levels: tuple[tuple[str, str], ...]  # the strip's colours, and what they stand for
    cells: tuple[Cell, ...]
    ticks: tuple[Tick, ...]
    label: str  # for screen readers
    table: tuple[tuple[str, str], ...]  # layers, and their servers


def picture_of(model: ModelView) -> Picture | None:
    """The picture of a model; None if it has no layers."""
    total = model.num_layers
    if total <= 0:
        return None
    servers = [server for server in model.servers if _width(server, total) > 0]
    stretches = _within(model.coverage, total)
    few = len(servers) <= MOST_BARS
    bars = bars_of(servers, total) if few else ()
    segments, most = ((), 0) if few else segments_of(servers, total)
    rows = 1 + max((bar.y // ROW_PIXELS for bar in bars), default=0)
    return Picture(
        height=rows * ROW_PIXELS if few else STACK_PIXELS,
        bars=bars,
        segments=segments,
        most_servers=words.several(most, "server"),
        levels=LEVELS,
        cells=cells_of(stretches, total),
        ticks=_ticks(total),
        label=_label(model, servers),
        table=tuple(
            (words.layers(stretch.start, stretch.end), replicas_in_words(stretch.replicas))
            for stretch in stretches[:MOST_CELLS]
        ),
    )


def _within(stretches: Iterable[Stretch], total: int) -> list[Stretch]:
    cut = ((*words.cut_to(stretch.start, stretch.end, total), stretch.replicas) for stretch in stretches)
    return [Stretch(start=start, end=end, replicas=replicas) for start, end, replicas in cut if end > start]


def _ticks(total: int) -> tuple[Tick, ...]:
    """Ticks at the first layer, the last, and round numbers between them."""
    step = next(
        size * 10**power for power in range(40) for size in (1, 2, 5) if size * 10**power * 6 >= total
    )
    ticks = [Tick(x=0.0, anchor="start", text="layer 0")]
    for layer in range(step, total, step):
        x = percent(2 * layer + 1, 2 * total)
        if 14.0 < x < 88.0:
            ticks.append(Tick(x=x, anchor="middle", text=words.count(layer)))
    if total > 1:
        ticks.append(Tick(x=100.0, anchor="end", text=words.count(total - 1)))
    return tuple(ticks)


def _label(model: ModelView, servers: Sequence[ServerView]) -> str:
    counts = [
        f"{sum(server.state is state for server in servers)} {words.activity_word(state)}"
        for state in STATE_ORDER
        if any(server.state is state for server in servers)
    ]
    return f"Coverage of {words.several(model.num_layers, 'layer')}: {', '.join(counts) or 'no servers'}."


def _width(server: ServerView, total: int) -> int:
    start, end = words.cut_to(server.start, server.end, total)
    return end - start
