"""What a server did is remembered: the longer, the more it has cost, and each further time twice as long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.trust.reputation import KNOWN_SECONDS, KNOWN_STEPS, Offence, Reputation

NOW = 1.8e9
OFFENCES = st.sampled_from(Offence)
REPUTATIONS = st.builds(
    Reputation,
    steps=st.integers(0, 100_000),
    worked_at=st.floats(0, 2 * NOW),
    offences=st.integers(0, 20),
    offended_at=st.floats(0, 2 * NOW),
    doubted_until=st.floats(0, 2 * NOW),
)


def test_a_server_is_known_after_it_has_worked_and_for_a_month():
    worked = Reputation().after_work(KNOWN_STEPS - 1, NOW)
    assert not worked.is_known(NOW)
    worked = worked.after_work(1, NOW)
    assert worked.is_known(NOW)
    assert not worked.is_known(NOW + KNOWN_SECONDS)


@pytest.mark.parametrize("offence", Offence, ids=lambda offence: offence.name)
def test_every_further_offence_is_remembered_twice_as_long(offence: Offence):
    reputation, at = Reputation(), NOW
    for times in range(4):
        reputation = reputation.after(offence, at)
        assert reputation.is_doubted(at + offence.value * 2**times - 1)
        at += offence.value * 2**times + 1
        assert not reputation.is_doubted(at)


@given(offences=st.lists(OFFENCES, min_size=1, max_size=100))
def test_nothing_is_held_against_a_server_for_longer_than_a_week(offences: list[Offence]):
    reputation = Reputation()
    for offence in offences:
        reputation = reputation.after(offence, NOW)
    assert reputation.is_doubted(NOW)
    assert not reputation.is_doubted(NOW + 7 * 86400 + 1)


@given(offence=OFFENCES)
def test_who_has_done_harm_is_unknown_again_and_who_was_busy_is_not(offence: Offence):
    known = Reputation().after_work(10_000, NOW)
    later = known.after(offence, NOW)
    assert later.is_known(NOW + 7 * 86400 + 1) is (offence is Offence.BUSY)


def test_long_good_work_makes_up_for_an_offence():
    reputation = Reputation().after(Offence.STALLED, NOW).after(Offence.STALLED, NOW)
    assert reputation.offences == 2
    assert reputation.after_work(1024, NOW).offences == 1


@given(reputation=REPUTATIONS)
def test_a_clock_that_was_wrong_damns_nobody_for_ever(reputation: Reputation):
    """The file was written in what is now the future."""
    if reputation.doubted_until > NOW + 7 * 86400:
        assert not reputation.is_doubted(NOW)


@given(one=REPUTATIONS, other=REPUTATIONS)
def test_two_processes_know_the_same_when_they_have_exchanged_what_they_know(
    one: Reputation, other: Reputation
):
    together = one.merged(other)
    assert together.doubted_until == max(one.doubted_until, other.doubted_until)
    assert together.worked_at == max(one.worked_at, other.worked_at)
    assert together.merged(one) == together
    assert together.merged(other) == together
