"""How long a connection is waited for."""

from __future__ import annotations

import pytest

from p2pinfer.http.connections.patience import Deadlines, Patience, Waiting

DEADLINES = Deadlines(
    silent_seconds=60, head_seconds=10, body_seconds=15, answer_seconds=30, least_bytes=1_000
)


def is_over(patience: Patience, now: float, *, is_paused: bool = False) -> bool:
    """Whether the request is over."""
    return patience.request_is_over(now, is_paused=is_paused)


@pytest.mark.parametrize(
    ("part", "seconds"),
    [(Waiting.START, 60), (Waiting.HEAD, 10), (Waiting.BODY, 15)],
    ids=["start", "head", "body"],
)
def test_each_part_of_a_request_has_its_time(part: Waiting, seconds: float):
    patience = Patience(DEADLINES, 0.0)
    patience.wait_for(part, 100.0)
    assert not is_over(patience, 99.9 + seconds)
    assert is_over(patience, 100.0 + seconds)


def test_a_request_that_is_there_may_be_answered_for_ever():
    patience = Patience(DEADLINES, 0.0)
    patience.wait_for(Waiting.NOTHING, 0.0)
    assert not is_over(patience, 1e9)


def test_a_body_goes_on_while_enough_comes():
    """Each span of time counts by itself: a good beginning doesn't pay for the rest."""
    patience = Patience(DEADLINES, 0.0)
    patience.wait_for(Waiting.BODY, 0.0)
    patience.came(5_000)
    assert not is_over(patience, 15.0)
    patience.came(999)
    assert is_over(patience, 30.0)


def test_what_we_do_not_read_is_no_fault_of_the_peer():
    patience = Patience(DEADLINES, 0.0)
    patience.wait_for(Waiting.BODY, 0.0)
    assert not is_over(patience, 1_000.0, is_paused=True)
    assert not is_over(patience, 1_014.0)
    assert is_over(patience, 1_015.0)


def test_an_answer_has_to_be_read():
    patience = Patience(DEADLINES, 0.0)
    assert not patience.answer_is_over(0.0, 50_000)
    assert not patience.answer_is_over(29.0, 50_000)
    assert patience.answer_is_over(30.0, 49_001)


def test_a_slow_reader_has_more_time_as_long_as_it_reads():
    """By what has gone, or because the application could send more."""
    patience = Patience(DEADLINES, 0.0)
    assert not patience.answer_is_over(0.0, 50_000)
    assert not patience.answer_is_over(29.0, 49_000)
    assert not patience.answer_is_over(58.0, 49_000)
    patience.went()
    assert not patience.answer_is_over(60.0, 64_000)
    assert not patience.answer_is_over(61.0, 0)
    assert not patience.answer_is_over(1_000.0, 10)
