"""What is announced of a coordinate: whole cells, in range, and steady."""

from __future__ import annotations

import random

import pytest

from p2pinfer.swarm.coordinates.quantized import CELLS, Quantized, middle, quantized, settled
from p2pinfer.swarm.coordinates.vivaldi import LEAST_POSITION_SECONDS, MOST_POSITION_SECONDS, Coordinate


@pytest.mark.parametrize("name", ["x", "y", "height"])
@pytest.mark.parametrize("value", [-1, CELLS, 2**70])
def test_numbers_out_of_range_are_refused_by_name(name: str, value: int):
    with pytest.raises(ValueError, match=name):
        Quantized(**{"x": 0, "y": 0, "height": 0, name: value})


def test_the_origin_is_far_from_the_boundaries_of_cells_of_every_size():
    for level in range(8):
        cells = CELLS / 2**level
        position = 42.5 % cells
        assert min(position, cells - position) >= cells / 4
    assert quantized(Coordinate()) == Quantized(x=42, y=42, height=0)


def test_the_edges_of_the_range_have_cells():
    edge = Coordinate(x=MOST_POSITION_SECONDS, y=LEAST_POSITION_SECONDS, height=1.27)

    assert quantized(edge) == Quantized(x=CELLS - 1, y=0, height=127)


def test_a_coordinate_that_trembles_at_a_boundary_keeps_its_cell():
    chance = random.Random(1)
    boundary = 0.005  # between cells 42 and 43
    announced = settled(None, Coordinate(x=boundary - 0.001))
    for _ in range(1000):
        announced = settled(announced, Coordinate(x=boundary + chance.uniform(-0.0039, 0.0039)))

    assert announced.x == 42


def test_a_member_that_has_moved_gets_another_cell():
    announced = settled(None, Coordinate())

    assert settled(announced, Coordinate(x=0.02)).x == 44


def test_the_middle_of_a_cell_lies_in_it():
    for cell in (Quantized(x=0, y=127, height=3), Quantized(x=42, y=41, height=0)):
        assert quantized(middle(cell)) == cell


def test_who_rests_in_the_middle_of_a_cell_announces_it_wherever_it_came_from():
    """Otherwise members of one LAN would stay in two cells for ever."""
    for neighbour in (41, 43):
        assert settled(Quantized(x=neighbour, y=42, height=0), Coordinate()).x == 42
