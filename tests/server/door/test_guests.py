"""Who makes room for a newcomer: who is idle, of the source that has most, and nobody with a session."""

from __future__ import annotations

import random

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.merits import KNOWN_TOKENS, Merits
from p2pinfer.fairness.sources import Source, peer_source, relay_source, source_of
from p2pinfer.server.door.guests import (
    BYTES,
    CALLS,
    MAX_CONNECTIONS_PER_SOURCE,
    MOST_REFUSED,
    SETTLING_SECONDS,
    Guests,
)
from p2pinfer.server.door.open_calls import guest_of

HOME, CROWD = (source_of("7.0.0.1"),), (source_of("9.0.0.1"),)


def guests_of(*names: str, most: int = 100, sources: tuple[Source, ...] = HOME) -> Guests:
    """One comes each second, beginning at 0."""
    guests = Guests()
    guests.set_places(most)
    for now, name in enumerate(names):
        guests.arrived(name, sources, float(now))
    return guests


def grow(guests: Guests, number: int, sources: tuple[Source, ...], now: float = 0.0) -> None:
    """So many more arrive from there; they are named by their number."""
    for index in range(number):
        guests.arrived(f"{sources[0]} {index}", sources, now)


def knowing(*sources: Source) -> Merits:
    merits = Merits()
    merits.signed(Guest(key=b"known", sources=sources), KNOWN_TOKENS)
    return merits


def test_the_one_that_has_been_idle_longest_goes_first():
    guests = guests_of("a", "b", "c")
    assert guests.first_to_go() == "a"
    guests.call_began("a", 3.0, is_session=True)
    guests.call_ended("a", 4.0, is_session=True)
    assert guests.first_to_go() == "b"
    guests.left("b")
    assert guests.first_to_go() == "c"


def test_one_with_an_open_session_never_goes():
    guests = guests_of("a")
    guests.call_began("a", 1.0, is_session=True)
    guests.call_began("a", 2.0, is_session=True)
    guests.call_ended("a", 3.0, is_session=True)
    assert guests.first_to_go() is None
    guests.call_ended("a", 4.0, is_session=True)
    assert guests.first_to_go() == "a"


def test_where_nobody_is_idle_one_without_a_session_goes_and_the_longest_in_use_first():
    """A call that never ends, or whose answer nobody reads, doesn't hold a place."""
    guests = guests_of("a", "b", "c")
    guests.call_began("c", 3.0, is_session=False)
    guests.call_began("b", 4.0, is_session=False)
    guests.call_began("b", 5.0, is_session=True)
    assert guests.first_to_go() == "a"
    guests.call_began("a", 6.0, is_session=False)
    assert guests.first_to_go() == "c"
    guests.left("c")
    assert guests.first_to_go() == "a"
    guests.left("a")
    assert guests.first_to_go() is None
    guests.call_ended("b", 7.0, is_session=True)
    assert guests.first_to_go() == "b"


def test_calls_of_a_connection_that_has_gone_change_nothing():
    guests = guests_of("a", "b")
    guests.call_began("b", 2.0, is_session=True)
    guests.left("b")
    guests.left("b")
    guests.call_ended("b", 3.0, is_session=True)
    guests.call_began("b", 4.0, is_session=True)
    guests.call_ended("nobody", 5.0, is_session=True)
    assert len(guests) == 1
    assert guests.first_to_go() == "a"


def test_it_is_known_where_a_connection_comes_from_while_it_is_here():
    guests = guests_of("a")
    assert guests.sources_of("a") == HOME
    guests.left("a")
    assert guests.sources_of("a") == ()


def test_it_is_known_whether_a_call_was_ever_made():
    guests = guests_of("a")
    assert not guests.has_called("a")
    guests.call_began("a", 1.0, is_session=False)
    guests.call_ended("a", 2.0, is_session=False)
    assert guests.has_called("a")
    assert not guests.has_called("nobody")


def test_a_source_has_its_share_and_then_its_own_oldest_goes():
    guests = guests_of(most=1000)
    guests.arrived("elsewhere", HOME, 0.0)
    grow(guests, MAX_CONNECTIONS_PER_SOURCE, CROWD)
    assert guests.room_for(CROWD, SETTLING_SECONDS) == (f"{CROWD[0]} 0",)
    assert guests.room_for(HOME, SETTLING_SECONDS) == ()


def test_who_has_settled_beyond_the_share_of_its_source_goes_unless_it_has_a_session():
    guests = guests_of(most=1000)
    grow(guests, MAX_CONNECTIONS_PER_SOURCE + 2, CROWD)
    guests.call_began(f"{CROWD[0]} 0", 1.0, is_session=True)
    assert [guests.is_too_much(f"{CROWD[0]} {index}") for index in range(3)] == [False, True, True]
    guests.left(f"{CROWD[0]} 1")
    assert not guests.is_too_much(f"{CROWD[0]} 2")
    assert not guests.is_too_much("nobody")


def test_many_that_come_back_together_are_let_in_also_from_one_source():
    """As after the restart of a server: each needs a moment until its session is open."""
    guests = guests_of(most=1000)
    for index in range(300):
        assert guests.room_for(HOME, 0.5) == ()
        guests.arrived(str(index), HOME, 0.5)
    assert guests.room_for(HOME, 0.5) is not None
    for index in range(290):
        guests.call_began(str(index), 1.0, is_session=True)
    assert guests.room_for(HOME, 5.0) == ()


def test_a_newcomer_gets_in_while_a_crowd_holds_all_places_and_the_crowd_makes_room():
    guests = guests_of(most=100)
    guests.arrived("alone", (source_of("7.1.0.1"),), 0.0)
    grow(guests, 74, CROWD, now=1.0)
    assert guests.room_for(HOME, 1.0) == (f"{CROWD[0]} 0",)


def test_a_crowd_goes_before_others_also_where_it_has_calls_open_and_they_have_none():
    guests = guests_of(most=100)
    guests.arrived("alone", (source_of("7.1.0.1"),), 0.0)
    grow(guests, 74, CROWD, now=1.0)
    for index in range(74):
        guests.call_began(f"{CROWD[0]} {index}", 2.0 + index, is_session=False)
    assert guests.room_for(HOME, 100.0) == (f"{CROWD[0]} 0",)


def test_a_crowd_of_identities_behind_one_relay_is_one_crowd():
    relay, guests = relay_source("12D3KooWrelay"), guests_of(most=100)
    guests.arrived("alone", HOME, 0.0)
    for index in range(74):
        guests.arrived(str(index), (peer_source(str(index)), relay), 1.0 + index)
    assert guests.room_for((source_of("7.1.0.1"),), 100.0) == ("0",)


def test_a_part_is_kept_for_those_who_are_known():
    guests = Guests(knowing(*HOME))
    guests.set_places(100)
    for index in range(75):
        guests.arrived(str(index), (source_of(f"9.0.{index}.1"),), float(index))
    assert guests.room_for(CROWD, 100.0) == ("0",)
    assert guests.room_for(HOME, 100.0) == ()
    for index in range(25):
        guests.arrived(f"known {index}", HOME, 100.0)
    assert guests.room_for((source_of("9.1.0.1"),), 100.0) == ("0",)


def test_where_all_have_sessions_nobody_makes_room():
    guests = guests_of("a", "b", most=2)
    for name in ("a", "b"):
        guests.call_began(name, 2.0, is_session=True)
    assert guests.room_for(CROWD, 9.0) is None
    guests.call_ended("a", 10.0, is_session=True)
    assert guests.room_for(CROWD, 10.0) == ("a",)


def test_sessions_do_not_take_the_share_of_their_source():
    """They have bounds of their own, and a carrier's customers share a network."""
    guests = guests_of(most=1000)
    grow(guests, 200, HOME)
    for index in range(200):
        guests.call_began(f"{HOME[0]} {index}", 1.0, is_session=True)
    assert guests.room_for(HOME, 100.0) == ()
    assert len(guests) == 200


def test_whatever_happens_everybody_is_counted_once():
    chance = random.Random(1)
    guests = Guests(knowing(source_of("7.0.0.1")))
    guests.set_places(60)
    here: dict[str, tuple[int, int]] = {}  # calls and sessions
    for number in range(5000):
        name, now = str(chance.randrange(80)), number / 10
        calls, sessions = here.get(name, (0, 0))
        if name not in here:
            sources = (source_of(f"7.0.{int(name) % 9}.1"),)
            goes = guests.room_for(sources, now)
            if goes is None:
                assert all(sessions for _, sessions in here.values())
                continue
            for other in goes:
                assert here.pop(other)[1] == 0
                guests.left(other)
            guests.arrived(name, sources, now)
            here[name] = (0, 0)
        elif chance.random() < 0.5:
            is_session = chance.random() < 0.5
            guests.call_began(name, now, is_session=is_session)
            here[name] = (calls + 1, sessions + is_session)
        elif calls:
            guests.call_ended(name, now, is_session=bool(sessions))
            here[name] = (calls - 1, sessions - bool(sessions))
        elif number % 3 == 0:
            guests.left(name)
            del here[name]
        first = guests.first_to_go()
        assert len(guests) == len(here) == guests._shares.taken <= 60
        assert here[first][1] == 0 if first else all(sessions for _, sessions in here.values())
    for name in list(here):
        guests.left(name)
    assert not guests._kindred
    assert guests._shares.taken == 0


def test_a_connection_is_told_by_its_name_whatever_its_folder_is_called():
    assert guest_of("unix:/tmp/a%20folder/grpc.sock-7") == "grpc.sock-7"
    assert guest_of("unix:") == "unix:"


def test_a_connection_on_which_too_many_calls_come_is_closed():
    guests = guests_of("flood", "other")
    closed: list[str] = []
    guests.hang_up = closed.append
    assert all(guests.may_call("flood", 10.0) for _ in range(CALLS.per_key))
    assert not any(guests.may_call("flood", 10.0) for _ in range(MOST_REFUSED))
    assert closed == []
    assert not guests.may_call("flood", 10.0)
    assert closed == ["flood"]
    assert guests.may_call("other", 10.0)
    assert guests.may_call("gone", 10.0)
    assert guests.may_call("flood", 11.0), "they come back with time"


def test_who_waits_when_its_calls_are_refused_keeps_its_connection():
    guests = guests_of("fetches")
    closed: list[str] = []
    guests.hang_up = closed.append
    now = 10.0
    for _ in range(4 * MOST_REFUSED):
        while guests.may_call("fetches", now):
            pass
        now += 0.1
    assert closed == []


def test_a_flood_from_a_network_costs_a_neighbour_calls_but_not_its_sessions():
    guests = guests_of("flood", "flood again", "neighbour")
    closed: list[str] = []
    guests.hang_up = closed.append
    guests.call_began("neighbour", 5.0, is_session=True)
    for name in ("flood", "flood again"):
        assert all(guests.may_call(name, 10.0) for _ in range(CALLS.per_key))
    assert not guests.may_call("neighbour", 10.0)
    assert closed == []
    assert not any(guests.may_call("neighbour", 10.0) for _ in range(MOST_REFUSED))
    assert closed == ["neighbour"]


def test_a_crowd_of_strangers_leaves_calls_for_those_who_are_known():
    guests = Guests(knowing(*HOME))
    for number in range(5):
        guests.arrived(f"s{number}", (source_of(f"9.0.{number}.1"),), 0.0)
        for _ in range(CALLS.per_source):
            guests.may_call(f"s{number}", 1.0)
    guests.arrived("known", HOME, 0.0)
    assert guests.may_call("known", 1.0)


def test_what_comes_faster_than_requests_do_is_read_later():
    guests = guests_of("flood", "other")
    assert guests.received("flood", 1000, 10.0) == 0
    assert 0 < guests.received("flood", int(BYTES.per_key), 10.0) < 1
    assert guests.received("other", 1000, 10.0) == 0
    assert guests.received("gone", 1 << 30, 10.0) == 0
