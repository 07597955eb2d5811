"""Servers in cities: their places as whole numbers of 32 bits, two bits a digit, ranks and ages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2pinfer.swarm.cells.place import DEPTH
from p2pinfer.swarm.coordinates.quantized import CELLS, LEVELS, UNIT_SECONDS

Numbers = NDArray[np.uint64]
Floats = NDArray[np.float64]

_CITIES = 400
_WORLD_SECONDS = 0.07  # the standard deviation of cities, on each axis: round trips up to 0.3 s
_CITY_SECONDS = 0.004  # that of servers around their city
_BITS = 2 * DEPTH
ID_BITS = 2 * (DEPTH - LEVELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Servers, sorted by place."""

    places: Numbers
    ranks: Floats
    came: Floats  # when each announced itself first; keepers keep places for those who are there longest

    def __len__(self) -> int:
        return len(self.places)


def population_of(servers: int, seed: int) -> Population:
    """Servers in cities of very unequal sizes (the n-th has a share of 1/n)."""
    chance = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, _CITIES + 1)
    city = chance.choice(_CITIES, size=servers, p=weights / weights.sum())
    centres = chance.normal(0.0, _WORLD_SECONDS, size=(_CITIES, 2))
    positions = centres[city] + chance.normal(0.0, _CITY_SECONDS, size=(servers, 2))
    cells = np.clip(np.floor(positions / UNIT_SECONDS + CELLS / 3), 0, CELLS - 1).astype(np.uint64)
    ids = chance.integers(0, 1 << ID_BITS, size=servers, dtype=np.uint64)
    places = np.sort(morton(cells[:, 0], cells[:, 1]) << np.uint64(ID_BITS) | ids)
    return Population(places=places, ranks=chance.random(servers), came=chance.random(servers))


def together(first: Population, then: Population) -> tuple[Population, NDArray[np.bool_]]:
    """Both in one, and which of them are of `then`, who came when all of `first` were there."""
    places = np.concatenate([first.places, then.places])
    order = np.argsort(places, kind="stable")
    last = first.came.max(initial=0.0)
    both = Population(
        places=places[order],
        ranks=np.concatenate([first.ranks, then.ranks])[order],
        came=np.concatenate([first.came, then.came + last])[order],
    )
    return both, order >= len(first)


def morton(x: Numbers, y: Numbers) -> Numbers:
    """The first digits of a place, as a number. See `place_of`."""
    code = np.zeros_like(x)
    for level in range(LEVELS):
        bit = np.uint64(level)
        one = np.uint64(1)
        code |= (x >> bit & one) << np.uint64(2 * level)
        code |= (y >> bit & one) << np.uint64(2 * level + 1)
    return code


def cells_at(places: Numbers, depth: int) -> Numbers:
    """The cells of places at a depth, as numbers."""
    return places >> np.uint64(_BITS - 2 * depth)


def cell_at(place: int, depth: int) -> int:
    """The cell of one place."""
    return place >> (_BITS - 2 * depth)


def text_of(place: int) -> str:
    """A place as the product writes it."""
    return "".join(str(place >> (_BITS - 2 - 2 * digit) & 3) for digit in range(DEPTH))
