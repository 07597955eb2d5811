"""The form of a coordinate that is announced: whole numbers of 10 ms. It tells no more of a home than a ping.

The origin is the middle of cell 42, at one third of the range. One third is far from every boundary between
halves, quarters, eighths and so on: at least a quarter of the part's size. So the members of one LAN, who are
all near the origin of their own swarm, share a cell at every size, and don't straddle two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2pinfer.swarm.coordinates.vivaldi import LEAST_POSITION_SECONDS, Coordinate

UNIT_SECONDS = 0.01
LEVELS = 7
CELLS = 1 << LEVELS
"""On each axis; a height is in [0, CELLS) as well."""

_SLACK_CELLS = 0.4
"""Less than a half: who rests in the middle of a cell leaves the one beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """A cell of the plane and a height, in units of 10 ms. Raises ValueError for numbers out of range."""

    x: int
    y: int
    height: int

    def __post_init__(self) -> None:
        for name, value in (("x", self.x), ("y", self.y), ("height", self.height)):
            if not 0 <= value < CELLS:
                raise ValueError(f"{name}: a coordinate's number is in [0, {CELLS}), not {value}")


def quantized(coordinate: Coordinate) -> Quantized:
    """The cell that a coordinate lies in."""
    return Quantized(
        x=_cell(_in_cells(coordinate.x)),
        y=_cell(_in_cells(coordinate.y)),
        height=_cell(coordinate.height / UNIT_SECONDS + 0.5),
    )


def middle(where: Quantized) -> Coordinate:
    """The middle of a cell: where a member is, as far as others know."""
    return Coordinate(
        x=LEAST_POSITION_SECONDS + (where.x + 0.5) * UNIT_SECONDS,
        y=LEAST_POSITION_SECONDS + (where.y + 0.5) * UNIT_SECONDS,
        height=where.height * UNIT_SECONDS,
    )


def settled(announced: Quantized | None, coordinate: Coordinate) -> Quantized:
    """What to announce now: the same as before, until the coordinate is 4 ms outside of it.

    Measurements jitter. Without slack a member near a boundary would move its records to and fro.
    """
    now = quantized(coordinate)
    if announced is None:
        return now
    is_near = (
        _is_near(announced.x, _in_cells(coordinate.x))
        and _is_near(announced.y, _in_cells(coordinate.y))
        and _is_near(announced.height, coordinate.height / UNIT_SECONDS + 0.5)
    )
    return announced if is_near else now


def _in_cells(position_seconds: float) -> float:
    return (position_seconds - LEAST_POSITION_SECONDS) / UNIT_SECONDS


def _cell(cells: float) -> int:
    return min(CELLS - 1, max(0, math.floor(cells)))


def _is_near(cell: int, cells: float) -> bool:
    return cell - _SLACK_CELLS <= cells <= cell + 1 + _SLACK_CELLS


ORIGIN = quantized(Coordinate())
"""Where everybody is who hasn't measured anything yet."""
