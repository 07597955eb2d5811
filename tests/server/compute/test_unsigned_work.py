"""Whose unsigned work begins when there is too much of it."""

from __future__ import annotations

import pytest

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.sources import Source
from p2pinfer.server.compute import unsigned_work
from p2pinfer.server.compute.unsigned_work import TrustIn, UnsignedWork


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(unsigned_work, "time", clock)
    return clock


def a_session(work: UnsignedWork, key: str, source: str) -> TrustIn:
    guest = Guest(key=key.encode(), sources=(Source(source),))
    return TrustIn(work, lambda: guest)


@pytest.mark.parametrize("crowds_tokens", [1, 8, 512])
def test_a_newcomer_gets_its_turn_beside_networks_that_take_all_there_is(clock, crowds_tokens):
    """Sixteen of them look every hundredth of a second whether there is anything for a step."""
    work = UnsignedWork(2048)
    networks = [f"n{number}" for number in range(16)]

    def crowd_takes_all() -> None:
        for network in networks:
            session = crowd[network]
            while not session.wait_seconds(crowds_tokens):
                session.count(crowds_tokens)
                crowd[network] = session = a_session(work, f"{network} {clock.now}", network)

    crowd = {network: a_session(work, network, network) for network in networks}
    while clock.now < 60:
        crowd_takes_all()
        clock.now += 0.05
    newcomer = a_session(work, "newcomer", "home")
    while newcomer.wait_seconds(400):
        crowd_takes_all()
        clock.now += 0.01
    assert clock.now < 60 + 3


def test_a_session_that_ends_keeps_nobody_waiting(clock):
    work = UnsignedWork(16)
    for number in range(8):
        session = a_session(work, str(number), str(number))
        assert session.wait_seconds(32) == 0
        session.count(32)
    first, second = a_session(work, "first", "there"), a_session(work, "second", "here")
    assert first.wait_seconds(16) > 0
    clock.now += 4
    assert second.wait_seconds(17) > 0
    first.leave()
    clock.now += 0.1
    assert second.wait_seconds(17) == 0


def test_who_waits_for_its_own_share_keeps_nobody_waiting(clock):
    work = UnsignedWork(16)
    busy, other = a_session(work, "busy", "there"), a_session(work, "other", "here")
    busy.count(32)
    assert busy.wait_seconds(16) > 0
    assert other.wait_seconds(32) == 0


def test_of_one_network_a_large_step_comes_to_its_turn_beside_small_ones(clock):
    """Its neighbours have fresh keys, and look every hundredth of a second."""
    work = UnsignedWork(2048)
    crowd = [a_session(work, str(number), "there") for number in range(50)]

    def crowd_takes_all() -> None:
        for number, session in enumerate(crowd):
            if not session.wait_seconds(1):
                session.count(1)
                crowd[number] = a_session(work, f"{number} {clock.now}", "there")

    crowd[0].count(4 * 2048)
    newcomer = a_session(work, "newcomer", "there")
    while newcomer.wait_seconds(400):
        crowd_takes_all()
        clock.now += 0.01
    assert clock.now < 4
    for session in crowd:
        session.leave()
    assert not work._lines


def test_who_waits_behind_many_looks_again_late(clock):
    """Each look costs: hundreds that wait must not keep the computing thread busy."""
    work = UnsignedWork(2048)
    crowd = [a_session(work, str(number), "there") for number in range(500)]
    crowd[0].count(4 * 2048)
    waits = [session.wait_seconds(8) for session in crowd]
    assert sum(seconds < 1 for seconds in waits) < 20
