"""The board's sums are those that the product computes from the records."""

from __future__ import annotations

import random

import numpy as np
import pytest

from p2pinfer.server.placement.choice import rates_of
from p2pinfer.server.placement.view import view_of
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import LayerSeconds, PeerId, Span
from scripts.fleet.board import Board, Entry
from scripts.fleet.rules import JoinOnly

NOW, TOTAL = 1e9, 30


@pytest.mark.parametrize("seed", range(5))
def test_rates_and_holders_are_those_of_the_product(seed: int):
    chance = random.Random(seed)
    board, records = Board(TOTAL, 40, JoinOnly().weigh), []
    board.refresh(NOW)
    for slot in range(40):
        start = chance.randrange(TOTAL)
        span = Span(start, chance.randint(start + 1, TOTAL))
        seconds = chance.choice([0.001, 0.002, 0.005])
        leaves_at = chance.choice([None, NOW + 30.0, NOW + 1000.0, NOW + 9000.0])
        state = chance.choice([ServerState.SERVING, ServerState.JOINING])
        is_measured = state is ServerState.SERVING
        board.put(
            slot,
            Entry(
                layers=span,
                layer_rate=1.0 / seconds if is_measured else None,
                leaves_at=leaves_at,
                serves=state is ServerState.SERVING,
            ),
        )
        records.append(
            Announcement(
                peer_id=PeerId(str(slot)),
                model="ab" * 32,
                model_name="m",
                num_layers=TOTAL,
                layers=span,
                state=state,
                decode=LayerSeconds(seconds if is_measured else 0.0),
                numerics="n",
                leaves_at=leaves_at,
                announced_at=NOW,
                expires_at=NOW + 60.0,
            )
        )
    gone = 7
    board.drop(gone)
    records.pop(gone)
    view = view_of(records, {record.peer_id: 1.0 for record in records}, TOTAL, NOW)
    expected = rates_of(view.everybody.stretches)
    board.refresh(NOW)

    assert board.servers == len(records)
    assert np.allclose(board.rates_without(gone), expected, rtol=0.02)  # medians of even numbers differ
    assert board.holders_without(gone).served.tolist() == view.holders.served.tolist()
    assert board.holders_without(gone).awaited.tolist() == view.holders.awaited.tolist()


def test_an_entry_counts_at_once_as_it_does_in_the_next_sum():
    board = Board(TOTAL, 2, JoinOnly().weigh)
    board.refresh(NOW)
    board.put(0, Entry(layers=Span(0, 10), layer_rate=1000.0, leaves_at=NOW + 1800.0, serves=True))
    board.put(1, Entry(layers=Span(5, 25), layer_rate=4000.0, leaves_at=None))
    board.put(0, Entry(layers=Span(20, 30), layer_rate=1000.0, leaves_at=NOW + 1800.0, serves=True))
    before = board.rates_without(1), board.holders_without(1).served, board.rates.copy()
    board.refresh(NOW)

    assert np.allclose(before[0], board.rates_without(1))
    assert before[1].tolist() == board.holders_without(1).served.tolist() == [0] * 20 + [1] * 10
    assert np.allclose(before[2], board.rates)
    assert board.rates[22] == pytest.approx(1000.0 / 10 / 2 + 4000.0 / 20)
