"""Whether one more document fits a budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.documents.running.budget import has_room


def test_without_a_budget_everything_fits():
    assert has_room(None, spent=10**30, answered=0, under_way=10**6)


def test_a_budget_of_nothing_begins_nothing():
    assert not has_room(0, spent=0, answered=0, under_way=0)


def test_while_no_cost_is_known_one_is_under_way_at_a_time():
    assert has_room(10, spent=0, answered=0, under_way=0)
    assert not has_room(10**9, spent=0, answered=0, under_way=1)


@given(
    most=st.integers(0, 10**9),
    cost=st.integers(1, 10**6),
    room=st.integers(1, 200),
    total=st.integers(0, 300),
)
def test_documents_of_one_cost_never_exceed_it_but_for_the_first(most: int, cost: int, room: int, total: int):
    """However many are at once; and what fits is used."""
    spent = answered = under_way = 0
    while True:
        while (
            under_way < room
            and answered + under_way < total
            and has_room(most, spent=spent, answered=answered, under_way=under_way)
        ):
            under_way += 1
        if under_way == 0:
            break
        spent, answered, under_way = spent + cost, answered + 1, under_way - 1

    assert spent <= max(most, cost)
    assert answered == total or spent + cost > most
