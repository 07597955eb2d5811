"""When a running server goes to other layers: never into a gap, never for little, never two for one gap."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.identity import Identity
from p2pinfer.server.placement.choice import Newcomer, Sizes, with_server
from p2pinfer.server.placement.moving import (
    GAIN,
    MOST_MOVES_PER_HOUR,
    Holders,
    Intention,
    better_move,
    leaves_no_gap,
    look_seconds,
    may_go,
    may_move_again,
)
from p2pinfer.server.placement.view import view_of
from p2pinfer.swarm.records.announcement import ServerState
from p2pinfer.types import PeerId, Span
from tests.swarm.conftest import describe

MODEL = "ab" * 32


def server(number: int = 10, *, most: int | None = None, rate: float = 1000.0) -> Newcomer:
    sizes = Sizes(least=number, usual=number, most=most or number)
    return Newcomer(peer_id=PeerId("us"), model=MODEL, sizes=sizes, layer_rate=rate)


def swarm(*spans: Span, total: int = 30, rate: float = 1000.0):
    """The rates and the holders of these servers."""
    rates, holders = np.zeros(total), np.zeros(total, dtype=np.int64)
    for span in spans:
        rates = with_server(rates, span, rate)
        holders[span.start : span.end] += 1
    return rates, Holders(served=holders, awaited=holders)


def moves(others: tuple[Span, ...], ours: Span, one: Newcomer | None = None, **changes: int) -> Span | None:
    move = better_move(*swarm(*others, **changes), ours, one or server())
    return None if move is None else move.span


def test_a_server_fills_a_gap_from_where_others_are():
    assert moves((Span(0, 10), Span(10, 20)), Span(0, 10)) == Span(20, 30)


def test_it_stays_where_nobody_else_is_while_the_model_is_whole():
    """Also if elsewhere it would make a weak place strong."""
    thin = (Span(0, 10),) * 8 + (Span(10, 20),) * 8

    assert moves(thin, Span(20, 30)) is None


def test_where_the_model_is_broken_already_it_may_leave_a_smaller_gap_than_it_closes():
    assert moves((Span(0, 9), Span(10, 20)), Span(0, 10)) == Span(20, 30)
    assert moves((Span(10, 20),), Span(0, 10)) is None


def test_a_server_that_is_about_to_leave_is_followed_before_it_has_gone():
    """It still has a small rate, but nobody will be there when the move is over."""
    rates, holders = swarm(Span(0, 10), Span(0, 10), Span(10, 20))
    rates = with_server(rates, Span(20, 30), 15.0)
    move = better_move(rates, holders, Span(0, 10), server())

    assert move is not None and move.span == Span(20, 30)
    assert str(move) == "10 of them have no other server"


def test_a_layer_that_carries_nothing_can_be_spoken_of():
    rates, holders = swarm(Span(0, 10), Span(10, 20))
    awaited = Holders(served=holders.served, awaited=np.ones(30, dtype=np.int64))
    move = better_move(rates, awaited, Span(0, 10), server())

    assert move is not None
    assert str(move) == "the weakest of them carry nothing now"


def test_who_says_that_it_is_on_its_way_and_should_have_left_holds_nothing():
    now = time.time()
    late = describe(
        Identity.ephemeral(),
        layers=Span(0, 10),
        moves_to=Span(20, 30),
        state=ServerState.SERVING,
        leaves_at=now - 5.0,
    )
    drains = replace(late, state=ServerState.DRAINING)
    views = [view_of([one], {one.peer_id: 1.0}, 30, now) for one in (late, drains)]

    assert [int(view.holders.awaited[25]) for view in views] == [0, 1]


def test_it_does_not_go_where_another_is_on_its_way():
    rates, holders = swarm(Span(0, 10), Span(10, 20))
    awaited = holders.awaited + np.repeat([0, 1], [20, 10])

    rates = with_server(rates, Span(20, 30), 1000.0)
    holders = Holders(served=holders.served, awaited=awaited)
    assert better_move(rates, holders, Span(0, 10), server()) is None


def test_it_does_not_leave_to_one_that_has_not_come_yet():
    """A server that loads may fail, or take long."""
    rates, holders = swarm(Span(0, 10), Span(10, 20), Span(10, 20))
    there = Holders(served=holders.served * np.repeat([0, 1], [10, 20]), awaited=holders.awaited)

    assert better_move(rates, holders, Span(0, 10), server()) is not None
    assert leaves_no_gap(there, Span(0, 10), Span(20, 30))  # the model lacks ten layers: fewer then
    rates = with_server(rates, Span(20, 30), 1000.0)
    there = Holders(served=there.served, awaited=there.awaited + 1)
    assert not leaves_no_gap(there, Span(0, 10), Span(20, 30))


def test_it_does_not_move_for_little():
    """From one of three to where there are two: the weakest layers would be no better off."""
    balanced = (Span(0, 10),) * 3 + (Span(10, 20),) * 3 + (Span(20, 30),) * 3

    assert moves(balanced, Span(0, 10)) is None
    assert moves(balanced[1:-1], Span(0, 10)) is None


def test_it_moves_from_where_there_is_plenty():
    assert moves((Span(0, 10),) * 4 + (Span(10, 20),) * 5 + (Span(20, 30),), Span(0, 10)) == Span(20, 30)


def test_two_weak_places_do_not_hide_each_other():
    """The weakest layer of the model stays as weak, but those that the move concerns are better off."""
    spans = (Span(0, 10),) * 5 + (Span(10, 20), Span(20, 30))

    assert moves(spans, Span(0, 10)) in {Span(10, 20), Span(20, 30)}


def test_a_larger_machine_grows_over_the_gap_instead_of_leaving_its_own_layers():
    grown = moves((Span(10, 20),), Span(0, 10), server(10, most=20))

    assert grown is None or Span(0, 10).within(grown)
    assert moves((Span(15, 30),), Span(0, 10), server(5, most=15)) == Span(0, 15)


@given(st.integers(0, 2**32))
def test_a_move_leaves_no_layer_without_a_server(seed: int):
    chance = random.Random(seed)
    total = chance.randrange(4, 40)
    spans = []
    for _ in range(chance.randrange(1, 12)):
        start = chance.randrange(total)
        spans.append(Span(start, min(total, start + chance.randrange(1, 12))))
    rates, holders = swarm(*spans[1:], total=total)
    ours = spans[0]
    move = better_move(rates, holders, ours, server(len(ours)))
    if move is not None:
        assert leaves_no_gap(holders, ours, move.span)
        missing, before = _missing(holders.served, move.span), _missing(holders.served, ours)
        assert missing <= before or len(missing) < len(before)
        assert before or not missing


def _missing(served, span: Span) -> set[int]:
    return {layer for layer in range(len(served)) if not served[layer] and layer not in span}


@pytest.mark.parametrize("seed", range(20))
def test_servers_that_move_one_after_the_other_come_to_rest_near_the_best(seed: int):
    """From wherever they are. At rest the weakest layer has nearly what an even spread gives."""
    chance = random.Random(seed)
    starts = [chance.randrange(21) for _ in range(24)]
    spans = {index: Span(start, start + 10) for index, start in enumerate(starts)}
    moved = 0
    for _ in range(20):
        still = True
        for index in chance.sample(sorted(spans), len(spans)):
            others = [span for other, span in spans.items() if other != index]
            goes = moves(tuple(others), spans[index])
            if goes is not None:
                spans[index], still, moved = goes, False, moved + 1
        if still:
            break
    assert still
    assert moved <= 2 * len(spans)
    rates, _ = swarm(*spans.values())
    assert rates.min() * GAIN >= rates.mean() - 100.0  # one server more would be too much


def intention(name: str, origin: Span, target: Span) -> Intention:
    return Intention(peer_id=PeerId(name), model=MODEL, origin=origin, target=target, announced_at=1e9)


def test_of_those_that_want_to_take_or_leave_the_same_layers_one_goes():
    same_target = [intention(str(n), Span(n, n + 1), Span(20, 30)) for n in range(8)]
    same_origin = [intention(str(n), Span(0, 10), Span(10 + n, 11 + n)) for n in range(8)]
    for rivals in (same_target, same_origin):
        go = [ours for ours in rivals if may_go(ours, [other for other in rivals if other is not ours])]
        assert len(go) == 1


def test_those_that_have_nothing_to_do_with_each_other_all_go():
    one, two = intention("1", Span(0, 5), Span(20, 25)), intention("2", Span(5, 10), Span(25, 30))

    assert may_go(one, [two])
    assert may_go(two, [one])


def test_a_server_moves_only_so_often_in_an_hour():
    now = 1e9
    often = [now - minutes * 60 for minutes in range(MOST_MOVES_PER_HOUR)]

    assert not may_move_again(often, now)
    assert may_move_again(often, now + 3600.0)
    assert may_move_again([], now)


def test_all_servers_of_a_model_together_look_at_an_even_pace():
    assert look_seconds(1) == look_seconds(10) <= 20.0
    assert 400 / look_seconds(400) == pytest.approx(600 / look_seconds(600))
    assert look_seconds(10**6) <= 600.0
