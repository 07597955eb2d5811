"""The rule beside which ours is measured."""

from __future__ import annotations

import numpy as np

from p2pinfer.server.placement.choice import Newcomer, Sizes
from p2pinfer.types import PeerId, Span
from scripts.fleet.board import Board, Entry
from scripts.fleet.petals import Petals, weakest_window


def board(*servers: tuple[Span, float]) -> Board:
    found = Board(30, len(servers), Petals(1).weigh)
    for slot, (span, rate) in enumerate(servers):
        found.put(slot, Entry(layers=span, layer_rate=rate, leaves_at=None, serves=True))
    return found


def better(seen: Board, slot: int) -> Span | None:
    span = Span(int(seen.starts[slot]), int(seen.ends[slot]))
    sizes = Sizes.exactly(len(span))
    server = Newcomer(peer_id=PeerId("us"), model="m", sizes=sizes, layer_rate=float(seen.layer_rates[slot]))
    return Petals(1).better(seen, slot, server, None, span, 0.0)


def test_the_neighbouring_blocks_with_the_lowest_throughput_are_taken():
    assert weakest_window(np.array([5.0, 1, 1, 5, 0, 5]), 2) == Span(3, 5)
    assert weakest_window(np.array([5.0, 1, 1, 5, 0, 4]), 2) == Span(4, 6)
    assert weakest_window(np.zeros(4), 9) == Span(0, 4)


def test_a_server_counts_with_its_throughput_at_each_of_its_blocks():
    assert board((Span(0, 30), 100.0), (Span(0, 10), 50.0)).rates.tolist() == [150.0] * 10 + [100.0] * 20


def test_a_server_moves_where_the_swarm_would_be_a_third_better():
    thirds = [(Span(0, 10), 100.0)] * 4 + [(Span(10, 20), 100.0)] * 3 + [(Span(20, 30), 100.0)] * 2

    assert better(board(*thirds), 0) == Span(20, 30)
    assert better(board(*thirds, (Span(20, 30), 40.0)), 0) is None


def test_it_counts_on_others_that_follow():
    """One move alone would raise nothing: two gaps are left by three that hold the same."""
    assert better(board(*[(Span(0, 10), 100.0)] * 3), 0) in {Span(10, 20), Span(20, 30)}


def test_the_last_one_stays():
    assert better(board((Span(0, 15), 500.0), (Span(15, 30), 100.0), (Span(15, 30), 100.0)), 0) is None
