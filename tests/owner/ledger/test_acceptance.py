"""Which receipts a server takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.owner.ledger.acceptance import LEAST_VALID_SECONDS, MOST_OFF_SECONDS, Expected, rejection
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipts import Receipt, Work
from tests.owner.signing import CLIENT, NOW, SERVER, SESSION, STRANGER, receipt

EXPECTED = Expected(
    server=SERVER.peer_id,
    client=CLIENT.public_key,
    session_id=SESSION,
    model="a" * 64,
    layers=Span(10, 20),
)
PLENTY = Work(10**6, 10**6)

counts = st.integers(0, 30)
works = st.builds(Work, counts, counts)


def test_an_honest_receipt_is_taken():
    """The first one, and one that says more."""
    first = receipt(10, 5)
    second = receipt(10, 6, sequence=2)

    assert rejection(first, expected=EXPECTED, last=None, done=Work(10, 5), now=NOW) is None
    assert rejection(second, expected=EXPECTED, last=first, done=Work(10, 6), now=NOW) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"server": STRANGER.peer_id}, "another server"),
        ({"client": STRANGER.public_key}, "another client"),
        ({"session_id": SessionId(bytes(16))}, "another session"),
        ({"model": "b" * 64}, "another model"),
        ({"layers": Span(10, 30)}, "layers 10:30, but this session's are 10:20"),
        ({"sequence": 4}, "number 4 is here already"),
        ({"sequence": 3}, "number 4 is here already"),
        ({"work": Work(9, 50)}, "less work"),
        ({"work": Work(50, 4)}, "less work"),
        ({"work": Work(10, 5)}, "adds no work"),
        ({"work": Work(21, 20)}, "more work than was done"),
        ({"work": Work(20, 21)}, "more work than was done"),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": NOW + LEAST_VALID_SECONDS - 1}, "less than 30 days"),
        ({"issued_at": NOW + MOST_OFF_SECONDS + 1}, "in the future"),
        ({"issued_at": NOW - MOST_OFF_SECONDS - 1}, "long ago"),
        ({"expires_at": 1e300}, "valid for longer than 90 days"),
    ],
)
def test_any_other_is_refused_with_a_reason(changes: dict[str, Any], reason: str):
    """After one for (10, 5), number 4, with (20, 20) done."""
    last = receipt(10, 5, sequence=4)
    wrong = receipt(**({"work": Work(15, 10), "sequence": 5} | changes))

    said = rejection(wrong, expected=EXPECTED, last=last, done=Work(20, 20), now=NOW)

    assert said is not None and reason in said


@pytest.mark.parametrize(
    "changes",
    [
        {"expires_at": NOW + LEAST_VALID_SECONDS},
        {"issued_at": NOW + MOST_OFF_SECONDS, "expires_at": NOW + 2 * LEAST_VALID_SECONDS},
        {"issued_at": NOW - MOST_OFF_SECONDS},
    ],
)
def test_the_limits_themselves_are_allowed(changes: dict[str, Any]):
    """Thirty days left, ten minutes off."""
    assert rejection(receipt(**changes), expected=EXPECTED, last=None, done=PLENTY, now=NOW) is None


def test_a_first_receipt_for_no_work_is_pointless():
    """As any that adds nothing."""
    said = rejection(receipt(0, 0), expected=EXPECTED, last=None, done=PLENTY, now=NOW)

    assert said == "it adds no work"


@settings(max_examples=150)
@given(st.lists(st.tuples(works, st.integers(1, 12)), max_size=12), works)
def test_what_is_accepted_only_grows_and_adds_up(offers: list[tuple[Work, int]], done: Work):
    """Whatever a client sends: taken work grows, is within what was done, and adds up to the last."""
    taken: list[Receipt] = []
    for work, sequence in offers:
        offer = receipt(work=work, sequence=sequence)
        last = taken[-1] if taken else None
        if rejection(offer, expected=EXPECTED, last=last, done=done, now=NOW) is None:
            taken.append(offer)

    added = Work()
    for before, after in zip([None, *taken], taken, strict=False):
        earlier = before.work if before else Work()
        assert earlier.within(after.work) and earlier != after.work
        assert after.sequence > (before.sequence if before else 0)
        added += after.work - earlier
    assert added == (taken[-1].work if taken else Work())
    assert added.within(done)


@settings(max_examples=50)
@given(works, st.integers(1, 12))
def test_nothing_is_taken_twice(work: Work, sequence: int):
    """A copy of what was taken is refused, whatever else is right about it."""
    taken = receipt(work=work, sequence=sequence)
    later = dataclasses.replace(taken, issued_at=NOW + 1)

    for copy in (taken, later):
        assert rejection(copy, expected=EXPECTED, last=taken, done=PLENTY, now=NOW) is not None
