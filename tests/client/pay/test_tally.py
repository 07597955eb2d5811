"""What a hop may claim: no more than the client itself has asked of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.pay.tally import Tally
from p2pinfer.wire.receipts import Work

counts = st.integers(0, 10_000)
works = st.builds(Work, counts, counts)


def test_a_new_hop_is_owed_nothing():
    assert Tally().to_sign(Work(5, 5)) is None


def test_what_was_asked_for_is_signed_for():
    tally = Tally()
    tally.ask(Work(10, 0))
    tally.ask(Work(0, 1))
    assert tally.to_sign(Work(10, 1)) == Work(10, 1)


def test_what_was_not_asked_for_is_not():
    tally = Tally()
    tally.ask(Work(10, 1))
    assert tally.to_sign(Work(11, 1)) == Work(10, 1)
    assert tally.to_sign(Work(0, 500)) == Work(0, 1)


def test_nothing_is_signed_twice_or_taken_back():
    tally = Tally()
    tally.ask(Work(10, 1))
    tally.signed = Work(10, 0)
    assert tally.to_sign(Work(10, 0)) is None
    assert tally.to_sign(Work(9, 1)) is None
    assert tally.to_sign(Work(10, 1)) == Work(10, 1)


def test_history_is_owed_once_however_often_it_is_replayed():
    """A warm successor first gets the history so far, then the tokens that came meanwhile."""
    tally = Tally()
    tally.expect_history(100)
    tally.expect_history(120)
    assert tally.to_sign(Work(500, 0)) == Work(120, 0)


@given(st.lists(works, max_size=10), st.lists(works, max_size=10))
def test_whatever_is_claimed_what_is_signed_grows_and_stays_within_what_was_asked(asked, claimed):
    tally = Tally()
    for work in asked:
        tally.ask(work)
    for claim in claimed:
        before = tally.signed
        signs = tally.to_sign(claim)
        if signs is not None:
            assert before.within(signs)
            assert signs != before
            assert signs.within(tally.most)
            tally.signed = signs
