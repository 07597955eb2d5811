"""Which layers a server takes, and when it moves: the product's rules on the board's arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from p2pinfer.backoff import Chance
from p2pinfer.server.placement.choice import Newcomer, Numbers, choose_span
from p2pinfer.server.placement.moving import LEAST_STAY_SECONDS, better_move, look_seconds
from p2pinfer.server.placement.settling import Claim, settled
from p2pinfer.server.placement.view import own_stay
from p2pinfer.swarm.census.strength import STAY_SECONDS, expected_stay
from p2pinfer.types import Span
from scripts.fleet.board import Board, Floats


class Rule(Protocol):
    """How servers choose. `server` says what they are, `leaves_at` when they go, if they know."""

    name: str
    settles: bool
    """Claims are looked at again before anything is fetched."""
    is_careful: bool
    """A server that moves says so first, fetches while it serves, and never leaves a gap."""

    def weigh(self, rates: Floats, lengths: Numbers, stays: Floats) -> Floats:
        """What servers count at each of their layers."""
        ...

    def chosen(self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, now: float) -> Span:
        """The layers for a server that comes."""
        ...

    def settled(
        self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, ours: Claim, now: float
    ) -> Span:
        """The layers for a server that has a claim and looks again."""
        ...

    def better(
        self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, layers: Span, now: float
    ) -> Span | None:
        """Where a running server with these layers goes; None: it stays. Its `layer_rate` is measured."""
        ...

    def look_seconds(self, servers: int, chance: Chance) -> float | None:
        """The time until a running server looks; None: never."""
        ...


class JoinOnly:
    """A server chooses when it comes, and settles with those that come at the same time; it never moves."""

    name = "join only"
    settles = True
    is_careful = True

    def weigh(self, rates: Floats, lengths: Numbers, stays: Floats) -> Floats:
        weighed: Floats = rates / lengths * np.minimum(1.0, stays / STAY_SECONDS)
        return weighed

    def chosen(self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, now: float) -> Span:
        return choose_span(board.rates_without(slot), _unmeasured(board, server, leaves_at, now))

    def settled(
        self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, ours: Claim, now: float
    ) -> Span:
        newcomer = _unmeasured(board, server, leaves_at, now)
        claims = [claim for other, claim in board.claims.items() if other != slot]
        ours = replace(ours, layer_rate=newcomer.layer_rate)
        return settled(board.firm_rates_without(slot), claims, ours, newcomer)

    def better(
        self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, layers: Span, now: float
    ) -> Span | None:
        return None

    def look_seconds(self, servers: int, chance: Chance) -> float | None:
        return None


class Ours(JoinOnly):
    """As before, and running servers move where they help clearly more."""

    name = "ours"

    def __init__(self, gain: float) -> None:
        self._gain = gain

    def better(
        self, board: Board, slot: int, server: Newcomer, leaves_at: float | None, layers: Span, now: float
    ) -> Span | None:
        if leaves_at is not None and leaves_at < now + LEAST_STAY_SECONDS:
            return None
        mover = replace(server, layer_rate=server.layer_rate * expected_stay(leaves_at, now))
        move = better_move(
            board.rates_without(slot), board.holders_without(slot), layers, mover, gain=self._gain
        )
        return None if move is None else move.span

    def look_seconds(self, servers: int, chance: Chance) -> float | None:
        return 2 * chance() * look_seconds(servers)


def _unmeasured(board: Board, server: Newcomer, leaves_at: float | None, now: float) -> Newcomer:
    """A server that comes counts itself as a typical one: it has measured nothing yet."""
    return replace(server, layer_rate=board.typical_rate * own_stay(leaves_at, now))
