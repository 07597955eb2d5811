"""The last hours of a model as lines. Pure; a template draws them into a box of 1000 by 100."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import Sample

WIDTH, HEIGHT = 1000, 100
_WINDOWS_HOURS = (1, 6, 24)
_LARGEST = 1e9
_GAP_FACTOR = 4.0
_TABLE_ROWS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a plot, as SVG paths."""

    kind: str  # main or second
    path: str
    area: str  # below it; empty for a second line


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One figure over time."""

    name: str
    unit: str
    now: str
    note: str  # lowest and highest
    top: str  # the value of the upper edge
    lines: tuple[Line, ...]
    label: str  # for screen readers


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one moment."""

    at: words.Moment
    servers: str
    weakest: str
    swarm: str
    probe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A model's history as plots and as a table."""

    hours: str  # 1 hour, 24 hours
    since: str  # the left edge
    until: str  # the right edge
    plots: tuple[Plot, ...]
    rows: tuple[Row, ...]  # newest first
    has_probe: bool


def course_of(
    samples: Sequence[Sample], now: float, *, is_fresh: bool = True, is_sample: bool = False
) -> Course | None:
    """The course of samples that are in order of time. None if there are fewer than two.

    Without `is_fresh` the last sample isn't of now, but of when the swarm was last seen. With `is_sample`
    the servers are an estimate.
    """
    servers = "announced, about" if is_sample else "serving"
    samples = [sample for sample in samples if words.moment(sample.at) is not None]
    if len(samples) < 2:
        return None
    until = max(samples[-1].at, now if words.moment(now) else 0.0)
    hours = next(
        (hours for hours in _WINDOWS_HOURS if until - samples[0].at <= hours * 3600), _WINDOWS_HOURS[-1]
    )
    samples = [sample for sample in samples if sample.at >= until - hours * 3600]
    if len(samples) < 2:
        return None
    return Course(
        hours=words.several(hours, "hour"),
        since=f"{hours} h ago" if is_fresh else f"{hours} h before",
        until="now" if is_fresh else "last seen",
        plots=(
            _plot(
                "Servers",
                (servers, servers),
                samples,
                until,
                hours,
                lambda sample: sample.servers,
                words.count,
            ),
            _plot(
                "Throughput",
                ("tokens/s", "tokens/s"),
                samples,
                until,
                hours,
                lambda sample: sample.swarm_tokens_per_second,
                words.rate,
                second=lambda sample: sample.probe_tokens_per_second,
            ),
            _plot(
                "Weakest layer",
                ("server", "servers"),
                samples,
                until,
                hours,
                lambda sample: sample.weakest_replicas,
                words.count,
            ),
        ),
        rows=tuple(_row(sample) for sample in _chosen(samples)),
        has_probe=any(_value(sample.probe_tokens_per_second) is not None for sample in samples),
    )


def _plot(
    name: str,
    units: tuple[str, str],  # for one, and for any other number
    samples: Sequence[Sample],
    until: float,
    hours: int,
    figure: Callable[[Sample], float],
    say: Callable[[int], str] | Callable[[float], str],
    second: Callable[[Sample], float | None] | None = None,
) -> Plot:
    def said(value: float) -> str:
        return say(int(value) if say is words.count else value)  # type: ignore[arg-type]

    since = until - hours * 3600
    points = [(sample.at, _value(figure(sample)) or 0.0) for sample in samples]
    others = [(sample.at, _value(second(sample))) for sample in samples] if second else []
    measured = [(at, value) for at, value in others if value is not None]
    values = [value for _, value in points]
    top = _round_up(max([*values, *(value for _, value in measured)]), whole=say is words.count)
    lines = [_line("main", points, since, until, top)]
    if measured:
        lines.append(_line("second", measured, since, until, top))
    past = f"over the last {words.several(hours, 'hour')}"
    unit = units[0] if values[-1] == 1 else units[1]
    note = f"lowest {said(min(values))}, highest {said(max(values))}"
    return Plot(
        name=name,
        unit=unit,
        now=said(values[-1]),
        note=note,
        top=said(top),
        lines=tuple(lines),
        label=f"{name}, {unit}, {past}: {said(values[-1])} now, {note}.",
    )


def _line(kind: str, points: Sequence[tuple[float, float]], since: float, until: float, top: float) -> Line:
    """A line with a gap wherever samples are missing."""
    width = max(until - since, 1.0)
    steps = [after[0] - before[0] for before, after in pairwise(points)]
    gap = max(_GAP_FACTOR * statistics.median(steps), 180.0) if steps else math.inf
    path, area = [], []
    run: list[tuple[float, float]] = []

    def end_run() -> None:
        if run:
            # A lone point is drawn as a short dash.
            tail = f"H{run[-1][0] + 2:g}" if len(run) == 1 else ""
            outline = "L".join(f"{x:g} {y:g}" for x, y in run)
            path.append(f"M{outline}{tail}")
            area.append(f"M{run[0][0]:g} {HEIGHT}L{outline}{tail}V{HEIGHT}Z")
            run.clear()

    previous = points[0][0]
    for at, value in points:
        if at - previous > gap:
            end_run()
        previous = at
        x = round(WIDTH * (at - since) / width, 1)
        run.append((x, round(HEIGHT * (1 - value / top), 1)))
    end_run()
    return Line(kind=kind, path="".join(path), area="".join(area) if kind == "main" else "")


def _chosen(samples: Sequence[Sample]) -> list[Sample]:
    """About twelve samples for the table, the newest first."""
    step = max(1, math.ceil(len(samples) / _TABLE_ROWS))
    return list(samples[::-1][::step])


def _row(sample: Sample) -> Row:
    at = words.moment(sample.at)
    assert at is not None  # course_of has removed the others
    return Row(
        at=at,
        servers=words.count(sample.servers),
        weakest=words.count(sample.weakest_replicas),
        swarm=words.rate(sample.swarm_tokens_per_second),
        probe=words.rate(sample.probe_tokens_per_second),
    )


def _value(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return min(max(float(value), 0.0), _LARGEST)


def _round_up(value: float, *, whole: bool) -> float:
    """The next larger of 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, ..."""
    least = 1.0
    if value <= least:
        return least
    power = 10.0 ** math.floor(math.log10(value))
    rounded = next(
        size * power for size in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if size * power >= value * 0.999999
    )
    return math.ceil(rounded) if whole else rounded
