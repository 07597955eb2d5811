"""Who makes room: what is idle first, then who has most, and nobody for one who would have as much."""

from __future__ import annotations

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.room import Holder, first_to_go
from p2pinfer.fairness.shares import Bound, Lack, Shares
from p2pinfer.fairness.sources import source_of

BOUND = Bound(in_all=10, per_source=6, per_key=4, for_known=2)


def guest(key: int, network: int, *, is_known: bool = False) -> Guest:
    return Guest(key=bytes([key]), sources=(source_of(f"7.0.{network}.1"),), is_known=is_known)


def room(newcomer: Guest, *held: tuple[Guest, float, bool]) -> tuple[Lack | None, int | None]:
    """What a newcomer lacks beside these, and the index of the one that goes."""
    shares = Shares(BOUND)
    for one, *_ in held:
        shares.take(one)
    holders = [
        Holder(what=index, guest=one, used_at=used_at, is_idle=is_idle)
        for index, (one, used_at, is_idle) in enumerate(held)
    ]
    lack = shares.lack(newcomer)
    return lack, None if lack is None else first_to_go(newcomer, lack, holders, shares)


def test_what_is_idle_goes_first_and_of_that_what_was_used_last_longest_ago():
    held = [(guest(key, key), 9.0 - key, key in (2, 3)) for key in range(8)]
    assert room(guest(9, 9), *held) == (Lack.STRANGERS, 3)


def test_without_anything_idle_who_has_most_makes_room_for_who_has_least():
    crowd = [(guest(1, 1), float(number), False) for number in range(4)]
    others = [(guest(key, key), 0.0, False) for key in range(2, 6)]
    assert room(guest(9, 9), *others, *crowd) == (Lack.STRANGERS, 4)


def test_nobody_makes_room_for_one_who_would_have_as_much():
    held = [(guest(key, key), 0.0, False) for key in range(8)]
    assert room(guest(9, 9), *held) == (Lack.STRANGERS, None)


def test_a_crowd_of_keys_from_one_network_makes_room_for_another_network():
    crowd = [(guest(key, 1), float(key), False) for key in range(2, 8)]
    others = [(guest(key, key), 0.0, False) for key in range(8, 10)]
    assert room(guest(20, 20), *others, *crowd) == (Lack.STRANGERS, 2)


def test_within_a_network_the_key_with_most_makes_room():
    held = [(guest(key, 1), 0.0, False) for key in (2, 3, 3, 3, 4, 5)]
    assert room(guest(9, 1), *held) == (Lack.SOURCE, 1)


def test_a_key_makes_room_for_itself_only_with_what_is_idle():
    others = [(guest(5, 5), 0.0, True)]
    assert room(guest(1, 1), *others, *[(guest(1, 1), 0.0, False)] * 4) == (Lack.KEY, None)
    assert room(guest(1, 1), *others, *[(guest(1, 1), 0.0, index == 2) for index in range(4)]) == (
        Lack.KEY,
        3,
    )


def test_strangers_make_room_for_who_is_known_and_never_the_other_way_round():
    known = [(guest(key, key, is_known=True), 0.0, False) for key in range(2)]
    strangers = [(guest(key, 7), 5.0, False) for key in range(20, 26)]
    strangers += [(guest(key, key), 5.0, False) for key in range(30, 32)]
    assert room(guest(40, 40, is_known=True), *known, *strangers) == (Lack.ALL, 2)
    assert room(guest(41, 41), *known, *strangers)[0] is Lack.STRANGERS
    assert room(guest(41, 41), *known, *strangers) == (Lack.STRANGERS, 2)
