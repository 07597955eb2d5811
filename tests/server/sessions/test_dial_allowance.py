"""A client may have a server try a few new doors a minute, and known ones as often as it likes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.sources import source_of
from p2pinfer.server.sessions import dial_allowance
from p2pinfer.server.sessions.dial_allowance import (
    KNOWN_SECONDS,
    NEW_IN_ALL,
    NEW_PER_CLIENT,
    NEW_PER_SOURCE,
    DialAllowance,
)


def guest(key: int, network: int = 0, *, is_known: bool = False) -> Guest:
    return Guest(key=key.to_bytes(4), sources=(source_of(f"7.0.{network}.1"),), is_known=is_known)


def test_a_client_has_few_new_doors_a_minute_and_is_told_how_long_to_wait():
    allowance = DialAllowance()
    assert [allowance.take(guest(1), 100.0) for _ in range(NEW_PER_CLIENT)] == [0.0] * NEW_PER_CLIENT
    seconds = allowance.take(guest(1), 100.0)
    assert seconds == 60.0 / NEW_PER_CLIENT
    assert allowance.take(guest(2), 100.0) == 0.0
    assert allowance.take(guest(1), 100.0 + seconds) == 0.0
    assert allowance.take(guest(1), 100.0 + seconds) > 0.0
    assert allowance.take(guest(1), 1000.0) == 0.0


def test_each_address_of_a_record_counts():
    allowance = DialAllowance()
    assert allowance.take(guest(1), 100.0, NEW_PER_CLIENT - 1) == 0.0
    assert allowance.take(guest(1), 100.0, 2) > 0.0
    assert allowance.take(guest(1), 100.0, 0) == 0.0
    assert allowance.take(guest(1), 100.0, 0) > 0.0


def test_all_clients_of_a_network_have_a_bound_because_keys_cost_nothing():
    allowance = DialAllowance()
    assert sum(allowance.take(guest(n), 5.0) == 0.0 for n in range(10 * NEW_PER_SOURCE)) == NEW_PER_SOURCE
    assert allowance.take(guest(1, network=1), 5.0) == 0.0
    assert allowance.take(guest(1), 66.0) == 0.0


def test_all_strangers_together_have_a_bound_and_those_who_are_known_have_their_own():
    allowance = DialAllowance()
    taken = sum(allowance.take(guest(n, n % 100), 5.0) == 0.0 for n in range(10 * NEW_IN_ALL))
    assert taken == NEW_IN_ALL
    assert allowance.take(guest(1, network=200), 5.0) > 0.0
    assert allowance.take(guest(1, network=200, is_known=True), 5.0) == 0.0


def test_a_door_that_opened_is_known_for_a_while_and_one_that_stays_shut_is_not():
    allowance = DialAllowance()
    assert not allowance.is_known("door", 0.0)
    allowance.opened("door", 10.0)
    assert allowance.is_known("door", 10.0 + KNOWN_SECONDS - 1)
    assert not allowance.is_known("door", 10.0 + KNOWN_SECONDS)
    allowance.opened("door", 1000.0)
    allowance.stayed_shut("door")
    allowance.stayed_shut("door")
    assert not allowance.is_known("door", 1000.0)


def test_known_doors_are_bounded(monkeypatch):
    monkeypatch.setattr(dial_allowance, "_MOST_DOORS", 3)
    allowance = DialAllowance()
    for n in range(10):
        allowance.opened(n, float(n))
    assert [n for n in range(10) if allowance.is_known(n, 10.0)] == [7, 8, 9]


@given(st.lists(st.floats(0.0, 30.0), max_size=200))
def test_within_any_minute_a_client_has_at_most_twice_its_doors(steps):
    """What it has left at the beginning, and what comes back meanwhile."""
    allowance, now, taken = DialAllowance(), 0.0, []
    for step in steps:
        now += step
        if allowance.take(guest(1), now) == 0.0:
            taken.append(now)
    assert all(sum(at <= one < at + 60.0 for one in taken) <= 2 * NEW_PER_CLIENT for at in taken)
