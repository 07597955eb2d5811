"""The picture of a model's coverage as numbers: who goes where. Pure; a template draws it.

Places across are percentages, so that a picture is as wide as its reader's screen without bent letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import Activity, ModelView, ServerView, Stretch

MOST_BARS = 60
"""With more servers than this no reader tells them apart: they are counted per layer instead."""

ROW_PIXELS = 26
BAR_PIXELS = 22
STACK_PIXELS = 150
_COLUMNS = 120
_MOST_CELLS = 90
_MOST_ROWS = 40
_LABEL_FITS_PERCENT = 9.0
_NUMBER_FITS_PERCENT = 2.2
_ORDER = {Activity.SERVING: 0, Activity.DRAINING: 1, Activity.JOINING: 2}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How many servers of one state a layer has, on top of those of other states: y and height in pixels."""

    x: float
    width: float
    y: float
    height: float
    state: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Layers that equally many servers serve."""

    x: float
    width: float
    level: str  # none, one, two, many
    number: str  # empty where it wouldn't fit
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A layer's number below the picture."""

    x: float
    anchor: str  # start, middle or end
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All of it. Either bars or columns."""

    height: int  # pixels of bars or columns
    bars: tuple[Bar, ...]
    columns: tuple[Column, ...]
    most_servers: int  # what the highest column stands for
    cells: tuple[Cell, ...]
    ticks: tuple[Tick, ...]
    label: str  # for who can't see it
    table: tuple[tuple[str, str], ...]  # layers, and how many servers serve them


def picture_of(model: ModelView) -> Picture | None:
    """None for a model without layers."""
    total = model.num_layers
    if total <= 0:
        return None
    servers = [server for server in model.servers if _width(server, total) > 0]
    stretches = _within(model.coverage, total)
    few = len(servers) <= MOST_BARS
    bars = _bars(servers, total) if few else ()
    columns, most = ((), 0) if few else _stacked(servers, total)
    rows = 1 + max((bar.y // ROW_PIXELS for bar in bars), default=0)
    return Picture(
        height=rows * ROW_PIXELS if few else STACK_PIXELS,
        bars=bars,
        columns=columns,
        most_servers=most,
        cells=_cells(stretches, total),
        ticks=_ticks(total),
        label=_label(model, servers),
        table=tuple(
            (words.layers(stretch.start, stretch.end), _replicas(stretch.replicas))
            for stretch in stretches[:_MOST_CELLS]
        ),
    )


def _bars(servers: Sequence[ServerView], total: int) -> tuple[Bar, ...]:
    """Packed like bricks: servers whose layers don't overlap share a row."""
    rows: list[list[tuple[int, int]]] = []
    bars = []
    for server in sorted(servers, key=lambda one: (_ORDER[one.state], one.start, -one.end, one.peer_id)):
        start, end = words.cut_to(server.start, server.end, total)
        row = next((row for row, taken in enumerate(rows) if _free(taken, start, end)), len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append((start, end))
        width = _percent(end - start, total)
        name = words.plain(server.public_name, 28) or words.plain(server.short_id, 12)
        state = words.activity_word(server.state)
        said = name if server.state is Activity.SERVING else f"{name}, {state}"
        bars.append(
            Bar(
                key=words.plain(server.peer_id),
                x=_percent(start, total),
                width=width,
                y=row * ROW_PIXELS,
                state=state,
                label=said if width >= _LABEL_FITS_PERCENT else "",
                title=f"{name} ({words.plain(server.short_id, 12)}): {words.layers(start, end)}, {state}",
            )
        )
    return tuple(bar for bar in bars if bar.y < _MOST_ROWS * ROW_PIXELS)


def _free(taken: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    return all(end <= other_start or other_end <= start for other_start, other_end in taken)


def _stacked(servers: Sequence[ServerView], total: int) -> tuple[tuple[Column, ...], int]:
    """Servers per layer and state; of a model with very many layers, those of every so manieth."""
    edges = _edges(total)
    counts = {state: [0] * len(edges) for state in _ORDER}
    for server in servers:
        start, end = words.cut_to(server.start, server.end, total)
        for index, (first, last) in enumerate(edges):
            counts[server.state][index] += start <= (first + last - 1) // 2 < end
    most = max(1, max(map(sum, zip(*counts.values(), strict=True))))
    columns = []
    for index, (first, last) in enumerate(edges):
        below = 0
        for state, numbers in counts.items():
            if not (here := numbers[index]):
                continue
            below += here
            columns.append(
                Column(
                    x=_percent(first, total),
                    width=_percent(last - first, total),
                    y=round(STACK_PIXELS * (1 - below / most), 1),
                    height=round(STACK_PIXELS * here / most, 1),
                    state=words.activity_word(state),
                    title=f"layers {words.layers(first, last)}: {here} {words.activity_word(state)}",
                )
            )
    return tuple(columns), most


def _cells(stretches: Sequence[Stretch], total: int) -> tuple[Cell, ...]:
    if len(stretches) > _MOST_CELLS:  # the weakest of each part: that is what a text has to get through
        stretches = [
            Stretch(start=first, end=last, replicas=min(_overlapping(stretches, first, last), default=0))
            for first, last in _edges(total)
        ]
    cells = []
    for stretch in stretches:
        width = _percent(stretch.end - stretch.start, total)
        replicas = max(0, stretch.replicas)
        number = words.count(replicas)
        cells.append(
            Cell(
                x=_percent(stretch.start, total),
                width=width,
                level=("none", "one", "two")[replicas] if replicas < 3 else "many",
                number=number if width >= _NUMBER_FITS_PERCENT * max(1, len(number) - 1) else "",
                title=f"layers {words.layers(stretch.start, stretch.end)}: {_replicas(replicas)}",
            )
        )
    return tuple(cells)


def _overlapping(stretches: Iterable[Stretch], first: int, last: int) -> Iterable[int]:
    return (stretch.replicas for stretch in stretches if stretch.start < last and first < stretch.end)


def _within(stretches: Iterable[Stretch], total: int) -> list[Stretch]:
    cut = ((*words.cut_to(stretch.start, stretch.end, total), stretch.replicas) for stretch in stretches)
    return [Stretch(start=start, end=end, replicas=replicas) for start, end, replicas in cut if end > start]


def _ticks(total: int) -> tuple[Tick, ...]:
    """The first layer, the last, and round numbers between them."""
    step = next(
        size * 10**power for power in range(40) for size in (1, 2, 5) if size * 10**power * 6 >= total
    )
    ticks = [Tick(x=0.0, anchor="start", text="layer 0")]
    for layer in range(step, total, step):
        x = _percent(2 * layer + 1, 2 * total)
        if 14.0 < x < 88.0:
            ticks.append(Tick(x=x, anchor="middle", text=words.count(layer)))
    if total > 1:
        ticks.append(Tick(x=100.0, anchor="end", text=words.count(total - 1)))
    return tuple(ticks)


def _edges(total: int) -> list[tuple[int, int]]:
    columns = min(total, _COLUMNS)
    return [(index * total // columns, (index + 1) * total // columns) for index in range(columns)]


def _label(model: ModelView, servers: Sequence[ServerView]) -> str:
    counts = [
        f"{sum(server.state is state for server in servers)} {words.activity_word(state)}"
        for state in _ORDER
        if any(server.state is state for server in servers)
    ]
    return f"Coverage of {words.several(model.num_layers, 'layer')}: {', '.join(counts) or 'no servers'}."


def _replicas(replicas: int) -> str:
    return "nobody" if replicas <= 0 else words.several(replicas, "server")


def _width(server: ServerView, total: int) -> int:
    start, end = words.cut_to(server.start, server.end, total)
    return end - start


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 3)
