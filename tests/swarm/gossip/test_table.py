"""Whose records a member remembers, and who goes when there are too many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.identity import Identity
from p2pinfer.swarm.cells.keys import keys_of_cell
from p2pinfer.swarm.cells.place import ROOT
from p2pinfer.swarm.gossip import table
from p2pinfer.swarm.gossip.table import Table
from p2pinfer.swarm.kademlia.validator import Record, read_record
from p2pinfer.swarm.records.announcement import ServerState, encode
from tests.swarm.conftest import MODEL, describe

BEGIN = 1_750_000_000.0
PLACE = "0123012301230123"
NEAR, FAR = "0123012301230000", "0123000000000000"


class Clock:
    """Unix seconds that the test moves."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now


def at(
    place: str, identity: Identity | None = None, *, expires_at: float = BEGIN + 60, **said: object
) -> Record:
    """A record that says it is at a place. Nothing here verifies it, so it may be anywhere."""
    identity = identity or Identity.ephemeral()
    described = describe(identity, announced_at=expires_at - 60, expires_at=expires_at, **said)
    return replace(read_record(encode(described, identity)), place=place)


def table_at(
    place: str = PLACE, home: int = 8, now: Callable[[], float] | None = None
) -> tuple[Table, Record]:
    """A table and its owner's record."""
    made, own = Table(now or Clock()), at(place, expires_at=BEGIN + 10_000)
    made.announce(own, home)
    return made, own


def peers(known: Table) -> set[str]:
    """Whom the table knows, without its owner."""
    return {entry.record.peer_id for entry in known.entries()}


def test_a_member_remembers_its_cell_and_the_one_above_it() -> None:
    known, _ = table_at(home=8)
    inside, above, outside = at("0123012301230000"), at("0123012000000000"), at("0123010000000000")
    known.take([inside, above, outside])
    assert peers(known) == {inside.peer_id, above.peer_id}


def test_before_it_is_announced_it_remembers_nobody() -> None:
    known = Table(Clock())
    known.take([at(PLACE)])
    assert known.all() == [] and known.own is None


def test_another_models_servers_are_none_of_ours() -> None:
    known, _ = table_at()
    known.take([at(NEAR, model="cd" * 32)])
    assert peers(known) == set()


@given(st.permutations(range(4)))
def test_the_newest_record_of_a_peer_wins_in_whichever_order_they_come(order: list[int]) -> None:
    known, _ = table_at()
    identity = Identity.ephemeral()
    records = [at(NEAR, identity, expires_at=BEGIN + 30 + n) for n in range(3)]
    records.append(at(NEAR, identity, expires_at=BEGIN + 32.001, state=ServerState.LEFT))
    known.take(records[n] for n in order)
    (entry,) = known.entries()
    assert entry.record == records[3] and entry.has_left


def test_one_that_has_moved_out_of_our_cell_is_gone_though_its_older_record_is_alive() -> None:
    known, _ = table_at()
    identity = Identity.ephemeral()
    known.take([at(NEAR, identity)])
    known.take([at("3" * 16, identity, expires_at=BEGIN + 75)])
    assert peers(known) == set()


def test_expired_records_are_never_told() -> None:
    clock = Clock()
    known, own = table_at(now=clock)
    known.take([at(NEAR, expires_at=BEGIN + 5), at(NEAR, expires_at=BEGIN - 1)])
    assert len(known.entries()) == 1
    clock.now = BEGIN + 5
    assert known.under(keys_of_cell(MODEL, ROOT)[0]) == [own]


def test_a_copy_of_our_identity_puts_nothing_in_our_place() -> None:
    identity = Identity.ephemeral()
    known, own = Table(Clock()), at(PLACE, identity)
    known.announce(own, 8)
    known.take([at(PLACE, identity, expires_at=BEGIN + 90)])
    assert [entry.record for entry in known.all()] == [own]


def test_a_cell_that_splits_and_a_move_leave_those_behind_who_are_no_neighbours_any_more() -> None:
    known, own = table_at(home=8)
    near, far = at(NEAR), at("0123012000000000")
    known.take([near, far])
    known.announce(own, 9)
    assert peers(known) == {near.peer_id}
    known.announce(replace(own, place="3" * 16), 9)
    assert peers(known) == set()
    known.take([near])
    known.announce(replace(own, tree="cd" * 32), 9)
    assert peers(known) == set()


def test_it_tells_under_each_key_what_belongs_there_and_its_owners_record_too() -> None:
    """Records say their place, and the keys of all cells that it lies in follow."""
    identity, other = Identity.ephemeral(), Identity.ephemeral()
    own, theirs = (read_record(encode(describe(one), one)) for one in (identity, other))
    known = Table(lambda: own.expires_at - 60)
    known.announce(own, 0)
    known.take([theirs])
    for key in (*keys_of_cell(MODEL, ROOT), *keys_of_cell(MODEL, own.place[:7])):
        assert {record.peer_id for record in known.under(key)} == {identity.peer_id, other.peer_id}
    assert known.under(keys_of_cell("cd" * 32, ROOT)[0]) == []
    assert known.under(b"x" * 20) == []


def test_a_crowd_does_not_push_out_those_known_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that stands nearer."""
    monkeypatch.setattr(table, "MOST_RECORDS", 20)
    clock = Clock()
    known, _ = table_at(now=clock)
    friends = [at("0123012000000000") for _ in range(10)]
    known.take(friends)
    for _ in range(5):
        clock.now += 1
        known.take(at(NEAR) for _ in range(30))
    assert {one.peer_id for one in friends} <= peers(known)
    assert len(known.entries()) == 20


def test_of_those_that_came_later_the_farther_ones_go_first_and_then_the_worst_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "MOST_RECORDS", 20)
    clock = Clock()
    known, _ = table_at(now=clock)
    known.take(at(NEAR) for _ in range(10))
    clock.now += 1
    far = [at("0123012000000000") for _ in range(5)]
    known.take(far)
    assert {one.peer_id for one in far} <= peers(known)
    known.take(at(NEAR) for _ in range(10))
    assert not {one.peer_id for one in far} & peers(known)


@given(st.lists(st.integers(0, 40), max_size=60))
def test_never_more_than_its_bounds(texts: list[int]) -> None:
    known, _ = table_at()
    table_bytes, most = table.MOST_BYTES, 8_000
    table.MOST_BYTES = most
    try:
        for length in texts:
            known.take([at(NEAR, public_name="x" * length)])
            assert sum(len(entry.record.data) for entry in known.entries()) == known._bytes <= most
    finally:
        table.MOST_BYTES = table_bytes


def test_one_that_stayed_long_and_is_back_soon_is_as_well_known_as_before() -> None:
    clock = Clock()
    known, _ = table_at(now=clock)
    long, short = Identity.ephemeral(), Identity.ephemeral()
    known.take([at(NEAR, long, expires_at=BEGIN + 200), at(NEAR, short, expires_at=BEGIN + 60)])
    clock.now = BEGIN + 300
    assert peers(known) == set()
    known.take(at(NEAR, one, expires_at=BEGIN + 400) for one in (short, long))
    assert [entry.record.peer_id for entry in known.entries()] == [long.peer_id, short.peer_id]
    assert known.entries()[0].since == BEGIN


def test_our_record_of_before_our_clock_was_set_back_is_replaced_and_an_overtaken_one_is_not_taken() -> None:
    clock, us = Clock(), Identity.ephemeral()
    known = Table(clock)
    known.announce(at(PLACE, us, expires_at=BEGIN + 60), 8)
    known.announce(at(PLACE, us, expires_at=BEGIN + 30), 8)
    assert known.own is not None and known.own.record.expires_at == BEGIN + 60
    clock.now = BEGIN - 3600.0
    known.announce(at(PLACE, us, expires_at=clock.now + 60), 8)
    assert known.own.record.expires_at == clock.now + 60
