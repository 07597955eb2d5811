"""Who gives up room for others, and who never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Lack
from p2pinfer.fairness.sources import Source
from p2pinfer.server.sessions.contention import Concession, Holding, concede, obtainable
from p2pinfer.types import SessionId

ROOM = 1000


def guest(key: str, source: str = "", *, is_known: bool = False) -> Guest:
    return Guest(key=key.encode(), sources=(Source(source or f"home of {key}"),), is_known=is_known)


def holds(name: str, whose: Guest, promised: int, used: int | None = None, *, idle: float = 0.0) -> Holding:
    return Holding(
        session=SessionId(name.encode()),
        guest=whose,
        promised=promised,
        used=promised if used is None else used,
        idle_seconds=idle,
    )


def names(*words: str) -> tuple[SessionId, ...]:
    return tuple(SessionId(word.encode()) for word in words)


def test_while_there_is_room_nobody_gives_up_any():
    assert concede(guest("b"), 100, [holds("all", guest("a"), 900, 0)], ROOM) == Concession()


def test_what_was_leased_and_is_not_used_goes_first():
    """One opening leases the whole cache, and computes nothing."""
    holdings = [holds("all", guest("a"), 1000, 40)]
    assert concede(guest("b"), 100, holdings, ROOM) == Concession(cut=names("all"))


def test_sessions_of_a_stranger_above_its_part_end_the_newest_first():
    holdings = [holds(name, guest("a"), 200) for name in ("one", "two", "three", "four", "five")]
    assert concede(guest("b"), 250, holdings, ROOM) == Concession(end=names("five", "four"))


def test_fresh_keys_of_one_network_are_one_guest():
    crowd = [holds(f"s{number}", guest(f"k{number}", "crowd"), 50) for number in range(20)]
    assert concede(guest("b"), 100, crowd, ROOM) == Concession(end=names("s19", "s18"))
    assert concede(guest("another", "crowd"), 100, crowd, ROOM) is Lack.ALL


def test_who_asks_gets_no_more_than_its_part_with_what_it_has():
    """Half where there are two, a quarter where there are many."""
    holdings = [holds("a", guest("a"), 800, 0), holds("b", guest("b"), 200)]
    assert concede(guest("b"), 301, holdings, ROOM) is Lack.KEY
    assert concede(guest("b"), 300, holdings, ROOM) == Concession(cut=names("a"))
    many = [holds("a", guest("a"), 880, 0), *(holds(name, guest(name), 20) for name in "bcdefg")]
    assert concede(guest("b"), 231, many, ROOM) is Lack.KEY
    assert concede(guest("b"), 230, many, ROOM) == Concession(cut=names("a"))


def test_who_needs_more_than_its_part_gets_it_from_those_who_are_idle():
    """A small cache: one of two long texts stands still, and a third would wait until its session ends."""
    idle = holds("idle", guest("a", is_known=True), 500, idle=11)
    busy = holds("busy", guest("b", is_known=True), 500)
    assert concede(guest("c"), 500, [idle, busy], ROOM) == Concession(end=names("idle"))
    assert obtainable([idle, busy], ROOM) == 500
    assert concede(guest("c"), 501, [idle, busy], ROOM) is Lack.KEY
    assert concede(guest("c"), 500, [holds("used", guest("a"), 500), busy], ROOM) is Lack.KEY


def test_the_sessions_in_use_of_somebody_known_never_end_for_others():
    busy = holds("busy", guest("a", is_known=True), 1000)
    assert concede(guest("b"), 100, [busy], ROOM) is Lack.ALL
    assert concede(guest("c", is_known=True), 100, [busy], ROOM) is Lack.ALL


def test_idle_sessions_of_somebody_known_end_only_above_its_part():
    known = guest("a", is_known=True)
    idle = holds("idle", known, 1000, idle=60.0)
    assert concede(guest("b"), 100, [idle], ROOM) == Concession(end=names("idle"))
    within = [holds(str(key), guest(str(key), is_known=True), 200, idle=60.0) for key in range(5)]
    assert concede(guest("b"), 100, within, ROOM) is Lack.ALL


def test_of_strangers_within_their_part_only_the_idle_make_room():
    active = [holds(str(key), guest(str(key)), 200) for key in range(4)]
    assert concede(guest("b"), 100, [*active, holds("last", guest("z"), 200)], ROOM) is Lack.ALL
    idle = holds("idle", guest("z"), 200, idle=20.0)
    assert concede(guest("b"), 100, [*active, idle], ROOM) == Concession(end=names("idle"))


def test_promises_of_strangers_shut_nobody_out():
    """A few networks have a quarter each, which they don't use; nobody is above its part."""
    crowd = [holds(str(number), guest(str(number)), 250, 16) for number in range(4)]
    assert concede(guest("b"), 100, crowd, ROOM) == Concession(cut=names("3"))
    assert obtainable(crowd, ROOM) == 250
    known = [holds(str(number), guest(str(number), is_known=True), 250, 16) for number in range(4)]
    assert concede(guest("b"), 100, known, ROOM) is Lack.ALL


def test_many_networks_that_fill_everything_let_a_newcomer_in():
    """Sixteen networks have 32 of 512 places each, and each session a step now and then."""
    crowd = [holds(str(number), guest(f"k{number}", f"n{number % 16}"), 1) for number in range(512)]
    assert concede(guest("b"), 1, crowd, 512) == Concession(end=names("511"))
    assert concede(guest("another", "n3"), 1, crowd, 512) is Lack.ALL
    few = [holds(str(number), guest(str(number)), 2) for number in range(256)]
    assert concede(guest("b"), 1, few, 512) is Lack.ALL


def test_a_part_is_kept_for_the_known():
    """Any number of strangers, from any number of networks, keep nobody out who is known."""
    crowd = [holds(f"s{number}", guest(f"k{number}"), 20) for number in range(50)]
    room = concede(guest("b", is_known=True), 100, crowd, ROOM)
    assert room == Concession(end=names("s49", "s48", "s47", "s46", "s45"))
    fewer = [*crowd[:37], holds("known", guest("other", is_known=True), 260)]
    assert concede(guest("b", is_known=True), 100, fewer, ROOM) is Lack.ALL


def test_a_newcomer_is_told_what_it_could_have_and_not_what_was_leased():
    assert obtainable([holds("all", guest("a"), 1000, 0)], ROOM) == 500
    assert obtainable([holds("some", guest("a"), 400, 0)], ROOM) == 600
    within = [holds(str(key), guest(str(key), is_known=True), 200) for key in range(5)]
    assert obtainable(within, ROOM) == 0


holdings = st.lists(
    st.builds(
        lambda number, key, source, known, promised, used, idle: holds(
            str(number),
            guest(f"k{key}", f"n{source}", is_known=known),
            promised,
            min(used, promised),
            idle=idle,
        ),
        st.integers(0, 10**6),
        st.integers(0, 4),
        st.integers(0, 3),
        st.booleans(),
        st.integers(1, 300),
        st.integers(0, 300),
        st.sampled_from([0.0, 60.0]),
    ),
    max_size=12,
    unique_by=lambda holding: holding.session,
)


@given(holdings, st.integers(1, 400), st.booleans())
def test_what_is_conceded_is_enough_and_nobody_known_loses_a_session_in_use(held, amount, is_known):
    newcomer = guest("newcomer", "n0", is_known=is_known)
    room = concede(newcomer, amount, held, 2000)
    if isinstance(room, Lack):
        return
    by_name = {holding.session: holding for holding in held}
    freed = sum(by_name[name].promised for name in room.end) + sum(by_name[name].unused for name in room.cut)
    assert sum(holding.promised for holding in held) - freed + amount <= 2000
    assert not set(room.cut) & set(room.end)
    for name in room.end:
        assert not by_name[name].guest.is_known or by_name[name].idle_seconds > 0


@pytest.mark.parametrize("idle", [0.0, 60.0], ids=["in use", "idle"])
def test_nobody_takes_from_its_own_key(idle):
    mine = [holds(str(number), guest("b"), 250, idle=idle) for number in range(4)]
    assert concede(guest("b"), 100, mine, ROOM) is Lack.KEY
