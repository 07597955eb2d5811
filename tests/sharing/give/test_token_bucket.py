"""A rate is held over any time, and used in full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.sharing.give.token_bucket import BURST_SECONDS, TokenBucket

sizes = st.integers(1, 1000)
rates = st.floats(1, 1e6)


@given(asked=st.lists(st.tuples(sizes, st.floats(0, 5)), max_size=60), rate=rates)
def test_no_more_than_the_rate_and_one_burst_is_taken_in_any_time(asked, rate):
    """Whoever asks, and however long nobody asked."""
    bucket, now = TokenBucket(least_burst_bytes=1000, now=0.0), 0.0
    taken: list[tuple[float, int]] = []
    for size, pause in asked:
        now += pause
        if bucket.take(size, rate, now) == 0.0:
            taken.append((now, size))

    burst = max(1000, rate * BURST_SECONDS)
    for first in range(len(taken)):
        begin = taken[first][0]
        for last in range(first, len(taken)):
            total = sum(size for _, size in taken[first : last + 1])
            assert total <= (rate * (taken[last][0] - begin) + burst) * (1 + 1e-9)


@given(sent=st.lists(sizes, min_size=5, max_size=50), rate=rates)
def test_who_waits_as_long_as_was_said_can_take_it(sent, rate):
    """And so the rate is used in full: the last byte goes no later than at the rate without any burst."""
    bucket, now = TokenBucket(least_burst_bytes=1000, now=0.0), 0.0
    for size in sent:
        for _ in range(3):  # floats: a rest of a byte may be missing
            seconds = bucket.take(size, rate, now)
            if not seconds:
                break
            now += seconds
        assert not seconds

    assert now <= sum(sent) / rate + len(sent) * 3e-6


def test_what_was_saved_at_a_high_rate_is_not_spent_at_a_low_one():
    """A trickle begins as a trickle."""
    bucket = TokenBucket(least_burst_bytes=100, now=0.0)
    assert bucket.take(1, 1e6, 10.0) == 0.0  # 50,000 more could be taken at this rate
    assert bucket.take(100, 10.0, 10.0) == 0.0
    assert bucket.take(10, 10.0, 10.0) == 1.0


def test_a_clock_that_was_set_back_gives_nothing():
    bucket = TokenBucket(least_burst_bytes=100, now=10.0)
    assert bucket.take(100, 10.0, 10.0) == 0.0
    assert bucket.take(10, 10.0, 5.0) == 1.0
