"""How many rows are asked for after servers had no room."""

from __future__ import annotations

import pytest

from p2pinfer.client.batching.room import Room
from p2pinfer.errors import LARGER_SERVERS, ROOM, HopFailedError, NoRouteError, RefusedError, UsageError
from p2pinfer.types import PeerId
from p2pinfer.wire.status import Reason

FULL = NoRouteError("full", waiting_for=ROOM)
REFUSED = RefusedError(PeerId("12D3KooW"), Reason.CACHE_FULL, "full")
TOO_LONG = RefusedError(PeerId("12D3KooW"), Reason.TOO_LONG, "too long")
TOO_SMALL = NoRouteError("too small", waiting_for=LARGER_SERVERS)
MISSING = NoRouteError("no server for layers 0-3")


@pytest.fixture
def room() -> Room:
    return Room(rows=16, session_tokens=16384)


@pytest.mark.parametrize(
    ("texts", "length", "rows"),
    [(1, 1024, 4), (3, 1024, 6), (100, 1024, 16), (100, 4096, 4), (1, 16384, 1), (1, 10**6, 1)],
)
def test_there_are_rows_for_twice_the_texts_within_limits(room, texts, length, rows):
    assert room.rows_for(texts, length=length, now=0.0) == rows


@pytest.mark.parametrize("error", [FULL, REFUSED, TOO_LONG, TOO_SMALL])
def test_what_was_refused_is_asked_for_at_once_with_fewer_rows(room, error):
    assert room.refused(error, 16, 100.0) == 0.0
    assert room.rows_for(50, length=1024, now=100.0) == 4
    assert room.asks_for_less(16, 100.0) and not room.asks_for_less(4, 100.0)
    assert room.refused(error, 4, 101.0) == 0.0
    assert room.rows_for(50, length=1024, now=101.0) == 1
    assert not room.is_full(101.0)


def test_where_there_is_no_room_for_one_row_none_is_asked_for_a_while(room):
    assert room.refused(FULL, 1, 102.0) > 0.0
    assert room.is_full(102.0)
    assert not room.is_full(110.0)


@pytest.mark.parametrize("error", [TOO_LONG, TOO_SMALL])
def test_a_row_that_is_too_long_for_the_servers_is_never_asked_for_again(room, error):
    assert room.refused(error, 1, 102.0) is None
    assert not room.is_full(102.0)


def test_after_a_while_all_rows_are_asked_for_again(room):
    room.refused(FULL, 16, 100.0)
    assert room.rows_for(50, length=1024, now=161.0) == 16


def test_where_layers_are_missing_fewer_rows_would_not_help(room):
    for error in (MISSING, HopFailedError(PeerId("12D3KooW"), "it left")):
        assert room.refused(error, 16, 100.0) == 0.0
        assert room.rows_for(50, length=1024, now=100.0) == 16


def test_an_error_that_nothing_helps_against_is_none_of_room(room):
    assert room.refused(UsageError("closed"), 16, 100.0) is None


def test_who_could_do_with_less_waits_for_a_moment_and_who_could_not_as_long_as_patience_lasts(room):
    assert room.seconds_for(1, left=60.0, has_others=False) == 60.0
    assert room.seconds_for(4, left=60.0, has_others=False) < 5.0
    assert room.seconds_for(1, left=60.0, has_others=True) < 5.0
    assert room.seconds_for(4, left=0.5, has_others=True) == 0.5
