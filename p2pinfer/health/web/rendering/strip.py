"""The strip below the picture: how many servers serve each layer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import Stretch
from p2pinfer.health.web.rendering.scale import parts, percent

MOST_CELLS = 90

_NUMBER_FITS_PERCENT = 2.2
_NUMBER_FITS_ON_A_PHONE_PERCENT = 3.0  # for each digit


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Neighbouring layers with the same number of servers: x and width in percent."""

    x: float
    width: float
    level: str  # none, one, two, many
    number: str  # empty where it wouldn't fit
    is_tight: bool  # the number doesn't fit on a phone
    title: str


LEVELS = (("none", "none"), ("one", "1"), ("two", "2"), ("many", "3 or more"))
"""One scale of colours for all models: a cell's level, and how many servers it stands for."""


def cells_of(stretches: Sequence[Stretch], total: int) -> tuple[Cell, ...]:
    """The cells of a model with `total` layers, at most 120."""
    if len(stretches) > MOST_CELLS:  # the weakest layer of each part, which limits every text
        stretches = [
            Stretch(start=first, end=last, replicas=min(_overlapping(stretches, first, last), default=0))
            for first, last in parts(total)
        ]
    cells = []
    for stretch in stretches:
        width = percent(stretch.end - stretch.start, total)
        replicas = max(0, stretch.replicas)
        number = words.count(replicas)
        cells.append(
            Cell(
                x=percent(stretch.start, total),
                width=width,
                level=LEVELS[min(replicas, 3)][0],
                number=number if width >= _NUMBER_FITS_PERCENT * max(1, len(number) - 1) else "",
                is_tight=len(number) > 1 and width < _NUMBER_FITS_ON_A_PHONE_PERCENT * len(number),
                title=f"{words.layer_ranges([(stretch.start, stretch.end)])}: {replicas_in_words(replicas)}",
            )
        )
    return tuple(cells)


def _overlapping(stretches: Iterable[Stretch], first: int, last: int) -> Iterable[int]:
    return (stretch.replicas for stretch in stretches if stretch.start < last and first < stretch.end)


def replicas_in_words(replicas: int) -> str:
    """`no server`, `1 server`, `3 servers`."""
    return "no server" if replicas <= 0 else words.several(replicas, "server")
