"""What a key may ask for, in time."""

from __future__ import annotations

import pytest

from p2pinfer.gateway.access.keys import Key, new_key
from p2pinfer.gateway.access.limits import Limits
from p2pinfer.openai_api.errors import ApiError

DAY = 86_400


class Clock:
    def __init__(self) -> None:
        self.at = 100.0 * DAY

    def __call__(self) -> float:
        return self.at


def make_key(**limits: int) -> Key:
    return new_key("anna", created="", limits=limits)[1]


def test_requests_of_a_minute_may_come_at_once_and_then_one_by_one():
    clock, key = Clock(), make_key(requests_per_minute=6)
    limits = Limits(clock)
    for _ in range(6):
        limits.begin(key)
    with pytest.raises(ApiError) as refused:
        limits.begin(key)
    assert refused.value.status == 429
    assert refused.value.retry_after_seconds == pytest.approx(10.0)
    clock.at += 10.0
    limits.begin(key)
    with pytest.raises(ApiError):
        limits.begin(key)


def test_a_clock_that_is_set_back_shuts_no_key_out_for_longer_than_its_limit_does():
    clock, key = Clock(), make_key(requests_per_minute=6)
    limits = Limits(clock)
    limits.begin(key)
    clock.at -= 5 * DAY
    with pytest.raises(ApiError) as refused:
        limits.begin(key)
    assert refused.value.retry_after_seconds == pytest.approx(10.0)
    clock.at += 10.0
    limits.begin(key)


def test_tokens_count_until_the_day_of_utc_ends():
    clock, key = Clock(), make_key(tokens_per_day=100)
    limits = Limits(clock)
    limits.begin(key)
    limits.count(key, 100)
    clock.at += DAY - 30
    with pytest.raises(ApiError) as refused:
        limits.begin(key)
    assert refused.value.retry_after_seconds == pytest.approx(30.0)
    clock.at += 30
    limits.begin(key)


def test_requests_at_the_same_time_are_counted_until_they_end():
    key, other = make_key(concurrent=1), make_key(concurrent=1)
    limits = Limits(Clock())
    limits.begin(key)
    limits.begin(other)
    with pytest.raises(ApiError):
        limits.begin(key)
    limits.end(key)
    limits.begin(key)


def test_a_refused_request_costs_nothing():
    clock, key = Clock(), make_key(requests_per_minute=1)
    limits = Limits(clock)
    limits.begin(key)
    for _ in range(100):
        with pytest.raises(ApiError):
            limits.begin(key)
    clock.at += 60.0
    limits.begin(key)
