"""What comes back with time is bounded for keys, for sources and in all."""

from __future__ import annotations

from math import inf

import pytest

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.fairness.sources import Source


def guest(key: int, source: str) -> Guest:
    return Guest(key=key.to_bytes(4, "big"), sources=(Source(source),))


@pytest.fixture
def rates() -> Rates:
    return Rates(RateBound(in_all=12, per_source=6, per_key=3, seconds=60))


def test_who_has_used_its_part_waits_until_it_has_come_back(rates):
    assert rates.use(guest(1, "a"), 0.0, 3) == 0
    assert rates.use(guest(1, "a"), 0.0) == pytest.approx(20.0)
    assert rates.use(guest(1, "a"), 20.0) == 0


def test_fresh_keys_of_a_source_share_what_it_has(rates):
    assert [rates.use(guest(key, "a"), 0.0, 3) for key in range(2)] == [0, 0]
    assert rates.use(guest(2, "a"), 0.0) == pytest.approx(10.0)
    assert rates.use(guest(2, "b"), 0.0) == 0


def test_many_sources_share_what_there_is_in_all(rates):
    assert [rates.use(guest(key, str(key)), 0.0, 3) for key in range(4)] == [0] * 4
    assert rates.use(guest(9, "9"), 0.0) == pytest.approx(5.0)


def test_who_is_refused_uses_nothing(rates):
    rates.use(guest(1, "a"), 0.0, 3)
    for _ in range(5):
        rates.use(guest(1, "a"), 0.0)
    assert rates.use(guest(2, "a"), 0.0, 3) == 0


def test_what_exceeds_the_bound_is_never_had_at_once(rates):
    assert rates.wait_seconds(guest(1, "a"), 0.0, 4) == inf


def test_what_is_given_back_can_be_used_again_and_is_no_more_than_there_was(rates):
    rates.use(guest(1, "a"), 0.0, 3)
    rates.count(guest(1, "a"), 0.0, -50)
    assert rates.use(guest(1, "a"), 0.0, 3) == 0
    assert rates.use(guest(1, "a"), 0.0) > 0


def test_a_flood_of_keys_takes_bounded_memory_and_frees_nobody(rates):
    rates.use(guest(1, "a"), 0.0, 3)
    for key in range(20_000):
        rates.use(guest(100 + key, "a"), 0.0)
    assert len(rates._buckets) <= 8192
    assert rates.wait_seconds(guest(2, "a"), 0.0) > 0
