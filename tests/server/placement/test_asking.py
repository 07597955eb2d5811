"""Records cost nothing: servers count that answer."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest

from p2pinfer.identity import Identity
from p2pinfer.server.placement.asking import ASKED_PER_LAYER, MOST_ASKED, credit_of, present, whom_to_ask
from p2pinfer.server.placement.choice import Newcomer, Sizes, choose_span, rates_of
from p2pinfer.server.placement.view import view_of
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import LayerSeconds, PeerId, Span
from tests.swarm.conftest import describe

US = PeerId("us")
IDENTITY = Identity.ephemeral()
NOW = time.time()


def record(name: str, start: int, end: int, **changes: Any) -> Announcement:
    fields = {"peer_id": PeerId(name), "layers": Span(start, end), "decode": LayerSeconds(0.01)}
    return describe(IDENTITY, **(fields | changes))


def choice(records: Sequence[Announcement], there: set[str], *, sizes: int = 10) -> Span:
    """What a server chooses that asks these, of which some are there."""
    asked: dict[PeerId, bool] = {}
    while now := whom_to_ask(records, asked, US, 30):
        asked |= {one.peer_id: one.peer_id in there for one in now}
    credit = credit_of(records, asked, 30)
    view = view_of(records, credit, 30, NOW)
    us = Newcomer(
        peer_id=US, model="ab" * 32, sizes=Sizes.exactly(sizes), layer_rate=view.own_rate(None, NOW)
    )
    return choose_span(rates_of(view.everybody.stretches), us)


def test_ten_records_of_servers_that_do_not_exist_change_nothing():
    phantoms = [record(f"phantom {number}", 10, 30) for number in range(10)]
    honest = [record("a", 0, 10)]

    assert choice([*honest, *phantoms], {"a"}) in {Span(10, 20), Span(20, 30)}
    assert choice([*honest, *phantoms, record("b", 10, 20)], {"a", "b"}) == Span(20, 30)


@pytest.mark.parametrize("state", [ServerState.JOINING, ServerState.SERVING])
def test_claims_of_servers_that_do_not_exist_change_nothing_either(state: ServerState):
    phantoms = [record(f"phantom {number}", 0, 20, state=state) for number in range(30)]

    assert choice(phantoms, set()) in {Span(0, 10), Span(20, 30)}


def test_a_thousand_servers_are_not_all_asked():
    """Some of each layer; the others count in the proportion in which those answered."""
    chance = random.Random(0)
    starts = [chance.randrange(0, 21) for _ in range(1000)]
    records = [record(f"server {number}", start, start + 10) for number, start in enumerate(starts)]
    asked = whom_to_ask(records, {}, US, 30)

    assert all(sum(layer in one.layers for one in asked) >= ASKED_PER_LAYER for layer in range(30))
    assert len(asked) <= min(MOST_ASKED, 2 * 3 * ASKED_PER_LAYER)
    credit = credit_of(records, {one.peer_id: True for one in asked}, 30)
    assert set(credit.values()) == {1.0}
    credit = credit_of(records, {one.peer_id: False for one in asked}, 30)
    assert set(credit.values()) == {0.0}


def test_nobody_is_asked_twice_and_not_everybody_asks_the_same():
    records = [record(f"server {number}", 0, 30) for number in range(100)]
    first = {one.peer_id for one in whom_to_ask(records, {}, US, 30)}

    assert len(first) == ASKED_PER_LAYER
    assert whom_to_ask(records, dict.fromkeys(first, True), US, 30) == []
    assert first != {one.peer_id for one in whom_to_ask(records, {}, PeerId("another"), 30)}


def test_another_is_asked_in_the_place_of_each_that_is_not_there():
    """Else a few phantoms would keep honest servers from being asked, and from counting."""
    phantoms = [record(f"phantom {number}", 0, 30) for number in range(40)]
    honest = [record(f"server {number}", 0, 10) for number in range(3)]
    asked: dict[PeerId, bool] = {}
    while now := whom_to_ask([*phantoms, *honest], asked, US, 30):
        assert not asked.keys() & {one.peer_id for one in now}
        asked |= {one.peer_id: one in honest for one in now}

    assert asked.keys() >= {one.peer_id for one in honest}


def test_a_liar_cannot_make_a_server_ask_without_end():
    phantoms = [record(f"phantom {number}", 0, 30) for number in range(1000)]
    asked: dict[PeerId, bool] = {}
    while now := whom_to_ask(phantoms, asked, US, 30):
        asked |= {one.peer_id: False for one in now}

    assert len(asked) == MOST_ASKED


def test_our_own_record_and_those_that_contradict_the_model_are_left_out():
    """Our own may be from a stay before this one."""
    wrong = [
        record("us", 0, 10),
        record("left", 0, 10, state=ServerState.LEFT),
        record("other", 0, 10, num_layers=40),
        record("beyond", 25, 35),
    ]

    assert [one.peer_id for one in present([*wrong, record("a", 0, 10)], US, 30)] == ["a"]
