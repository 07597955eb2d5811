"""What is news to the other, and how that is told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.identity import Identity
from p2pinfer.swarm.gossip.marks import (
    GAIN_SECONDS,
    MARK_BYTES,
    SOON_SECONDS,
    Mark,
    is_news,
    marks_of,
    news_for,
    read_marks,
    wanted_of,
)
from p2pinfer.swarm.gossip.table import Entry, entry_of
from p2pinfer.swarm.kademlia.validator import read_record
from p2pinfer.swarm.records.announcement import ServerState, encode
from tests.swarm.conftest import describe

NOW = 1_750_000_000.0
SALT = b"saltsalt"
chance = random.Random(3).random


def entry(identity: Identity | None = None, *, left: float = 60.0, **said: object) -> Entry:
    """A record that has so many seconds left."""
    identity = identity or Identity.ephemeral()
    described = describe(identity, announced_at=NOW, expires_at=NOW + left, **said)
    return entry_of(read_record(encode(described, identity)), NOW)


def told(*entries: Entry, salt: bytes = SALT) -> dict[bytes, Mark]:
    """What another reads of marks."""
    return read_marks(marks_of(entries, salt), NOW)


@given(st.lists(st.floats(1, 600), max_size=3), st.binary(min_size=8, max_size=8))
def test_marks_tell_expiries_to_a_tenth_of_a_millisecond(lefts: list[float], salt: bytes) -> None:
    entries = [entry(left=left) for left in lefts]
    marks = marks_of(entries, salt)
    assert len(marks) == MARK_BYTES * len(entries)
    read = [mark.expires_at for mark in read_marks(marks, NOW + 10).values()]
    assert read == pytest.approx([one.record.expires_at for one in entries], abs=1e-4)


def test_what_is_no_mark_is_an_error_and_any_twelve_bytes_are_one() -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        read_marks(b"x" * 13, NOW)
    assert len(read_marks(b"\xff" * 12 + b"\0" * 12, NOW)) == 2


def test_one_that_lacks_a_record_gets_it_and_who_has_it_does_not() -> None:
    known, unknown = entry(), entry()
    assert news_for(told(known), SALT, [known, unknown], NOW, chance) == [unknown]
    assert wanted_of(told(known, unknown), SALT, [known], NOW) == [1]
    assert wanted_of(told(known), SALT, [known], NOW) == []


def test_a_copy_that_is_good_for_a_while_is_not_replaced_and_one_that_expires_soon_is() -> None:
    identity = Identity.ephemeral()
    for left, is_replaced in ((SOON_SECONDS + 1, False), (SOON_SECONDS - 1, True)):
        theirs, ours = entry(identity, left=left), entry(identity, left=60)
        assert bool(news_for(told(theirs), SALT, [ours], NOW, chance)) == is_replaced
    hardly_newer = entry(identity, left=5 + GAIN_SECONDS / 2)
    assert news_for(told(entry(identity, left=5)), SALT, [hardly_newer], NOW, chance) == []


def test_what_changes_routes_is_news_at_once_and_comes_first() -> None:
    """A tombstone replaces a record by a millisecond."""
    identity, stranger = Identity.ephemeral(), entry()
    serving = entry(identity, left=55)
    left = entry(identity, left=55.001, state=ServerState.LEFT)
    assert news_for(told(serving), SALT, [stranger, left], NOW, chance) == [left, stranger]
    assert news_for(told(left), SALT, [serving], NOW, chance) == []
    assert wanted_of(told(left), SALT, [serving], NOW) == [0]
    assert entry(identity, left=50, queue_depth=7).content == serving.content


@given(st.floats(0, 100), st.floats(0, 100), st.integers(0, 1), st.integers(0, 1))
def test_an_older_record_is_never_news(one: float, other: float, content: int, another: int) -> None:
    newer, older = Mark(content, NOW + max(one, other)), Mark(another, NOW + min(one, other))
    assert not is_news(older, newer, NOW)
    assert not is_news(Mark(0, NOW - 1), None, NOW)


def test_a_mark_of_one_question_says_nothing_in_another() -> None:
    """Else identities could be ground whose marks are those of others, which then wouldn't be passed on."""
    known = entry()
    assert news_for(told(known, salt=b"12345678"), SALT, [known], NOW, chance) == [known]
