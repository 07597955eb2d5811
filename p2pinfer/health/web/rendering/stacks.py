"""Servers counted per layer and stacked by state, for models with many servers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import ServerView
from p2pinfer.health.web.rendering.scale import STATE_ORDER, parts, percent

STACK_PIXELS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The servers of one state in a layer's stack: x and width in percent, y and height in pixels."""

    x: float
    width: float
    y: float
    height: float
    state: str
    title: str


def segments_of(servers: Sequence[ServerView], total: int) -> tuple[tuple[Segment, ...], int]:
    """All segments, and the servers of the highest stack.

    A model with very many layers has one stack for each part, which counts the part's middle layer.
    """
    edges = parts(total)
    counts = {state: [0] * len(edges) for state in STATE_ORDER}
    for server in servers:
        start, end = words.cut_to(server.start, server.end, total)
        for index, (first, last) in enumerate(edges):
            counts[server.state][index] += start <= (first + last - 1) // 2 < end
    most = max(1, max(map(sum, zip(*counts.values(), strict=True))))
    segments = []
    for index, (first, last) in enumerate(edges):
        below = 0
        for state, numbers in counts.items():
            if not (here := numbers[index]):
                continue
            below += here
            segments.append(
                Segment(
                    x=percent(first, total),
                    width=percent(last - first, total),
                    y=round(STACK_PIXELS * (1 - below / most), 1),
                    height=round(STACK_PIXELS * here / most, 1),
                    state=words.activity_word(state),
                    title=f"{words.layer_ranges([(first, last)])}: {here} {words.activity_word(state)}",
                )
            )
    return tuple(segments), most
