"""Places: 16 digits of 0 to 3. Each prefix is a cell, and each further digit cuts it into four."""

from __future__ import annotations

import hashlib

from p2pinfer.swarm.coordinates.quantized import LEVELS, Quantized

DEPTH = 16
ROOT = ""


def place_of(coordinate: Quantized, peer_id: str) -> str:
    """A member's place: first where it is, then digits of its id, since one city may have thousands.

    The first seven digits are the Morton code of the coordinate's cell: each is a bit of x and a bit of y.
    A reader that is no server takes a random text for an id.
    """
    where = "".join(
        str((coordinate.x >> level & 1) | (coordinate.y >> level & 1) << 1)
        for level in reversed(range(LEVELS))
    )
    return where + _digits(peer_id, DEPTH - LEVELS)


def place_of_model(model: str) -> str:
    """A model's place in the directory of models. `model` is its manifest hash."""
    return _digits(model, DEPTH)


def cell_of(place: str, depth: int) -> str:
    """The cell of a place at a depth: ROOT at 0. Raises ValueError for a depth that no cell has."""
    if not 0 <= depth <= DEPTH:
        raise ValueError(f"a cell's depth is between 0 and {DEPTH}, not {depth}")
    return place[:depth]


def children_of(cell: str) -> tuple[str, ...]:
    """The four quarters of a cell."""
    return tuple(cell + digit for digit in "0123")


def cells_beside(place: str, depth: int) -> tuple[str, ...]:
    """The three other quarters of the cell above; none beside the root."""
    if depth == 0:
        return ()
    own = cell_of(place, depth)
    return tuple(cell for cell in children_of(own[:-1]) if cell != own)


def _digits(text: str, count: int) -> str:
    number = int.from_bytes(hashlib.sha256(b"p2pinfer place\0" + text.encode()).digest()[:8], "big")
    return "".join(str(number >> (62 - 2 * i) & 3) for i in range(count))
