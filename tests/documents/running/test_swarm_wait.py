"""How a swarm that is away is waited for."""

from __future__ import annotations

import math

from p2pinfer.backoff import Backoff
from p2pinfer.documents.running.swarm_wait import SwarmWait


def wait() -> SwarmWait:
    """Without chance."""
    return SwarmWait(Backoff(first_seconds=1.0, most_seconds=60.0), chance=lambda: 0.5)


def test_while_the_swarm_is_there_nobody_waits():
    one = wait()
    one.began(3)
    assert (one.seconds_left(0.0), one.reason, one.is_on) == (0.0, "", False)


def test_one_document_at_a_time_tries_and_pauses_grow():
    one = wait()
    now, pauses = 100.0, []
    one.failed("no route", began_at=90.0, now=now)
    for number in range(9):
        pauses.append(one.seconds_left(now))
        now += pauses[-1]
        assert one.seconds_left(now) == 0.0
        one.began(number)
        assert one.seconds_left(now) == math.inf
        one.failed("still no route", began_at=now, now=now + 1)
        one.ended(number)
        now += 1
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert one.reason == "still no route"


def test_those_that_were_under_way_when_the_swarm_left_make_the_pause_no_longer():
    one = wait()
    for number in range(64):
        one.failed("gone", began_at=50.0 + number / 100, now=100.0 + number / 1000)
    assert one.seconds_left(100.1) < 1.0


def test_what_may_be_the_swarms_fault_is_told_and_nobody_waits():
    """Even if the error has no words."""
    one = wait()
    one.note("")
    assert one.reason and not one.is_on and one.seconds_left(0.0) == 0.0
    one.answered()
    assert one.reason == ""


def test_an_answer_ends_the_wait():
    """Also one of a document that began before; the next wait begins with a short pause."""
    one = wait()
    for began in (0.0, 20.0, 40.0, 80.0):
        one.failed("gone", began_at=began, now=began + 1)
    one.began(7)
    one.answered()
    assert (one.seconds_left(81.0), one.reason) == (0.0, "")
    one.failed("gone", began_at=90.0, now=91.0)
    assert one.seconds_left(91.0) == 1.0


def test_a_wrong_document_that_tries_makes_way_for_the_next():
    """Its error says nothing about the swarm."""
    one = wait()
    one.failed("gone", began_at=0.0, now=1.0)
    one.began(7)
    one.ended(7)
    assert one.seconds_left(2.0) == 0.0
