"""The rule of Petals, as its authors describe it, beside which ours is measured.

Source: A. Borzunov et al., "Distributed Inference and Fine-tuning of Large Language Models Over The
Internet", 2023. A server counts with its throughput at each of its blocks, however many it has. It takes
the neighbouring blocks where the throughput is lowest. A running server asks now and then what the lowest
throughput would be if it moved, and the others after it, each to its best place, until nobody wants to
move; it moves if that of now is below 0.75 of it, and if its blocks aren't lost. Stays are not known,
drains and second looks don't exist.

That thought experiment takes as many steps as there are servers. In a fleet of more than a few hundred it
is done once for all that ask within ten minutes; the throughput of now is looked at by each.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from p2pinfer.backoff import Chance
from p2pinfer.server.placement.choice import Newcomer, Numbers, Rates
from p2pinfer.server.placement.settling import Claim
from p2pinfer.types import Span
from scripts.fleet.board import Board, Floats

ENOUGH = 0.75
"""Of what could be."""
LOOK_SECONDS = 120.0

_FEW = 200
_REMEMBERED_SECONDS = 600.0
_MOST_ROUNDS = 10


class Petals:
    """See above."""

    name = "Petals"
    settles = False
    is_careful = False

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._possible: dict[int, tuple[float, float]] = {}  # by board: when, the lowest throughput

    def weigh(self, rates: Floats, lengths: Numbers, stays: Floats) -> Floats:
        return rates

    def chosen(self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, now: float) -> Span:
        return weakest_window(board.rates_without(slot), server.sizes.usual)

    def settled(
        self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, ours: Claim, now: float
    ) -> Span:
        return ours.layers

    def better(
        self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, layers: Span, now: float
    ) -> Span | None:
        lowest = float(board.rates.min())
        if lowest >= ENOUGH * self._most(board):
            return None
        others = board.rates_without(slot)
        if lowest > 0.0 and others.min() <= 1e-6:
            return None
        span = weakest_window(others, server.sizes.usual)
        if span == layers or lowest >= ENOUGH * self._could_be(board, slot, span, now):
            return None
        return span

    def look_seconds(self, servers: int, chance: Chance) -> float | None:
        return 2 * LOOK_SECONDS * chance()

    def _most(self, board: Board) -> float:
        """What the lowest throughput can't exceed: then there is no need to think."""
        listed = board.ends > 0
        lengths = (board.ends - board.starts)[listed]
        return float((board.layer_rates[listed] * lengths).sum()) / board.num_layers

    def _could_be(self, board: Board, slot: int, span: Span, now: float) -> float:
        if board.servers <= _FEW:
            return self._imagined(board, slot, span)
        at, lowest = self._possible.get(id(board), (-np.inf, 0.0))
        if now - at > _REMEMBERED_SECONDS:
            lowest = self._imagined(board, slot, span)
            self._possible[id(board)] = now, lowest
        return lowest

    def _imagined(self, board: Board, slot: int, span: Span) -> float:
        """The lowest throughput when this server has moved and the others have followed."""
        rates = board.rates_without(slot)
        rates[span.start : span.end] += board.layer_rates[slot]
        starts, lengths = board.starts.copy(), board.ends - board.starts
        others = [int(other) for other in np.flatnonzero(board.ends) if other != slot]
        for _ in range(_MOST_ROUNDS):
            self._chance.shuffle(others)
            moved = False
            for other in others:
                start, length, rate = int(starts[other]), int(lengths[other]), board.layer_rates[other]
                rates[start : start + length] -= rate
                to = weakest_window(rates, length)
                rates[to.start : to.end] += rate
                moved |= to.start != start
                starts[other] = to.start
            if not moved:
                break
        return float(rates.min())


def weakest_window(rates: Rates, length: int) -> Span:
    """The neighbouring layers whose lowest rates are lowest, the first of equals."""
    windows = sliding_window_view(rates, min(length, len(rates)))
    lowest = windows.min(axis=1)
    best = np.flatnonzero(lowest <= lowest.min() + 1e-6)
    if len(best) > 1:
        ordered = np.sort(windows[best], axis=1).round(6)
        best = best[np.lexsort(ordered.T[::-1])]
    start = int(best[0])
    return Span(start, start + windows.shape[1])
