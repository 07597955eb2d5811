"""Places and keys: near members share prefixes, one city splits, one signature serves at all depths."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from p2pinfer.swarm.cells.keys import SALTS, keys_of, keys_of_cell
from p2pinfer.swarm.cells.place import (
    DEPTH,
    ROOT,
    cell_of,
    cells_beside,
    place_of,
    place_of_model,
)
from p2pinfer.swarm.coordinates.quantized import Quantized

HERE = Quantized(x=42, y=42, height=0)


def test_the_cells_beside_are_the_rest_of_the_cell_above():
    place = "0123" * 4

    assert cells_beside(place, 0) == ()
    assert cells_beside(place, 1) == ("1", "2", "3")
    assert cells_beside(place, 3) == ("010", "011", "013")


@pytest.mark.parametrize("depth", [-1, 17])
def test_a_depth_that_no_cell_has_is_refused(depth: int):
    with pytest.raises(ValueError, match="depth"):
        cell_of(place_of(HERE, "peer"), depth)


def test_the_members_of_one_city_are_together_and_still_split():
    places = [place_of(HERE, f"peer {number}") for number in range(4000)]

    assert len({cell_of(place, 7) for place in places}) == 1
    quarters = Counter(cell_of(place, 8) for place in places)
    assert len(quarters) == 4
    assert min(quarters.values()) > 850


def test_near_members_share_more_digits_than_far_ones():
    """Neighbouring cells in the same quarter, against the other end of the range."""
    near = place_of(Quantized(x=43, y=42, height=9), "near")
    far = place_of(Quantized(x=120, y=120, height=9), "far")
    own = place_of(HERE, "own")

    assert near[:6] == own[:6]
    assert far[0] != own[0]


def test_models_are_spread_over_the_directory():
    cells = Counter(cell_of(place_of_model(f"{number:064x}"), 1) for number in range(1000))

    assert min(cells.values()) > 200


def test_one_signature_serves_every_cell_of_its_place_and_no_other():
    chance = random.Random(1)
    places = ["".join(chance.choice("0123") for _ in range(DEPTH)) for _ in range(20)]
    for place in places:
        keys = keys_of("tree", place)
        assert len(keys) == SALTS * (DEPTH + 1)
        assert all(keys.issuperset(keys_of_cell("tree", place[:depth])) for depth in range(DEPTH + 1))
        other = place[:-1] + str((int(place[-1]) + 1) % 4)
        assert keys.isdisjoint(keys_of_cell("tree", other))
        assert keys.isdisjoint(keys_of_cell("another tree", ROOT))
