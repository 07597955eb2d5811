"""Networks whose calls bring no requests."""

from __future__ import annotations

from p2pinfer.fairness.merits import KNOWN_TOKENS, Merits
from p2pinfer.fairness.sources import Source
from p2pinfer.server.door.guests import Guests
from p2pinfer.server.door.nuisances import BARRED_SECONDS, EMPTY_CALLS, Nuisances

CROWD, HOME = (Source("198.51.100.0/24"),), (Source("203.0.113.0/24"),)


def test_a_few_calls_without_a_request_are_forgiven_and_many_bar_their_network():
    nuisances = Nuisances()
    assert not any(nuisances.note(CROWD, 0.0) for _ in range(int(EMPTY_CALLS.per_source)))
    assert not nuisances.are_barred(CROWD, 0.0)
    assert nuisances.note(CROWD, 0.0)
    assert nuisances.are_barred(CROWD, BARRED_SECONDS - 1)
    assert not nuisances.are_barred(CROWD, BARRED_SECONDS + 1)
    assert not nuisances.are_barred(HOME, 0.0)


def test_others_behind_the_same_relay_are_not_barred():
    nuisances = Nuisances()
    for _ in range(100):
        nuisances.note((Source("peer a"), Source("relay r")), 0.0)
    assert nuisances.are_barred((Source("peer a"), Source("relay r")), 0.0)
    assert not nuisances.are_barred((Source("peer b"), Source("relay r")), 0.0)


def test_what_is_remembered_of_them_is_bounded():
    nuisances = Nuisances()
    for number in range(5000):
        for _ in range(65):
            nuisances.note((Source(str(number)),), 0.0)
    assert len(nuisances._barred) <= 4096


def test_a_network_that_is_barred_loses_the_connection_and_its_strangers_get_no_other():
    merits = Merits()
    guests, closed = Guests(merits), []
    guests.hang_up = closed.append
    guests.arrived("one", CROWD, 0.0)
    for _ in range(int(EMPTY_CALLS.per_source) + 1):
        guests.call_was_empty("one", 0.0)
    assert closed == ["one"]
    assert guests.room_for(CROWD, 1.0) is None
    assert guests.room_for(HOME, 1.0) == ()
    merits.signed(merits.guest(b"known", CROWD), KNOWN_TOKENS)
    assert guests.room_for(CROWD, 1.0) == ()


def test_a_connection_that_has_gone_is_nobodys():
    guests, closed = Guests(), []
    guests.hang_up = closed.append
    for _ in range(100):
        guests.call_was_empty("gone", 0.0)
    assert closed == []
