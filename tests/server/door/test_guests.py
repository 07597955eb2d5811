"""Which connection makes room for a newcomer: the one that has been idle longest, and none in use."""

from __future__ import annotations

import random

from p2pinfer.fairness.sources import source_of
from p2pinfer.server.door.guests import Guests
from p2pinfer.server.door.open_calls import guest_of


def guests_of(*names: str) -> Guests:
    guests = Guests()
    for name in names:
        guests.arrived(name)
    return guests


def test_the_one_that_has_been_idle_longest_goes_first():
    guests = guests_of("a", "b", "c")
    assert guests.first_to_go() == "a"
    guests.call_began("a", is_session=True)
    guests.call_ended("a", is_session=True)
    assert guests.first_to_go() == "b"
    guests.left("b")
    assert guests.first_to_go() == "c"


def test_one_with_an_open_call_never_goes():
    guests = guests_of("a")
    guests.call_began("a", is_session=True)
    guests.call_began("a", is_session=True)
    guests.call_ended("a", is_session=True)
    assert guests.first_to_go() is None
    guests.call_ended("a", is_session=True)
    assert guests.first_to_go() == "a"


def test_where_nobody_is_idle_one_without_a_session_goes_and_the_longest_in_use_first():
    guests = guests_of("a", "b", "c")
    guests.call_began("c", is_session=False)
    guests.call_began("b", is_session=False)
    guests.call_began("b", is_session=True)
    assert guests.first_to_go() == "a"
    guests.call_began("a", is_session=False)
    assert guests.first_to_go() == "c"
    guests.left("c")
    assert guests.first_to_go() == "a"
    guests.left("a")
    assert guests.first_to_go() is None
    guests.call_ended("b", is_session=True)
    assert guests.first_to_go() == "b"


def test_it_is_known_where_a_connection_comes_from_while_it_is_here():
    guests, home = Guests(), source_of("203.0.113.7")
    guests.arrived("a", (home,))
    assert guests.sources_of("a") == (home,)
    guests.left("a")
    assert guests.sources_of("a") == ()


def test_calls_of_a_connection_that_has_gone_change_nothing():
    guests = guests_of("a", "b")
    guests.call_began("b", is_session=True)
    guests.left("b")
    guests.left("b")
    guests.call_ended("b", is_session=True)
    guests.call_began("b", is_session=True)
    guests.call_ended("nobody", is_session=True)
    assert len(guests) == 1
    assert guests.first_to_go() == "a"


def test_whatever_happens_everybody_is_counted_once():
    chance, guests = random.Random(1), Guests()
    here: dict[str, int] = {}
    for number in range(3000):
        name = str(chance.randrange(30))
        if name not in here:
            guests.arrived(name)
            here[name] = 0
        elif chance.random() < 0.5:
            guests.call_began(name, is_session=True)
            here[name] += 1
        elif here[name]:
            guests.call_ended(name, is_session=True)
            here[name] -= 1
        elif number % 3 == 0:
            guests.left(name)
            del here[name]
        idle = guests.first_to_go()
        assert len(guests) == len(here)
        assert here[idle] == 0 if idle else all(here.values())


def test_a_connection_is_told_by_its_name_whatever_its_folder_is_called():
    assert guest_of("unix:/tmp/a%20folder/grpc.sock-7") == "grpc.sock-7"
    assert guest_of("unix:") == "unix:"
