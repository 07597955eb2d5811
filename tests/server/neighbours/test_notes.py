"""Whom a server measures, and what it announces of it: the nearest of those a route may go on to."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from p2pinfer.identity import Identity
from p2pinfer.server.neighbours.following import Fit, fit_of, followers
from p2pinfer.server.neighbours.notes import (
    ABSENT_SECONDS,
    AGAIN_SECONDS,
    FORGOTTEN_SECONDS,
    MOST_WITHIN,
    OTHER_WAY_SECONDS,
    PINGED_AT_ONCE,
    Notes,
)
from p2pinfer.swarm.records.announcement import MAX_NEXT_HOPS, Announcement, ServerState
from p2pinfer.types import PeerId, Span, Way
from tests.swarm.conftest import describe

IDENTITY = Identity.ephemeral()
Distance = Callable[[PeerId], float | None]


def record(name: str, start: int, end: int, address: str = "", **changes: Any) -> Announcement:
    endpoints = (f"{address}:4600",) if address else ()
    fields = {"peer_id": PeerId(name), "layers": Span(start, end), "endpoints": endpoints}
    return describe(IDENTITY, **(fields | changes))


US = record("us", 0, 10, "192.0.2.1", region="Berlin")


def rounds(notes: Notes, records: Sequence[Announcement], distance: Distance, *, times: int, at: float = 0.0):
    """Measure so often, every 30 s; returns whom, round by round, and the time after the last round."""
    chance, asked = random.Random(1).random, []
    for _ in range(times):
        notes.see(records, at)
        asked.append(notes.whom_to_measure(at, chance))
        for one in asked[-1]:
            notes.measured(one.peer_id, distance(one.peer_id), at)
        at += 30.0
    return asked, at


def crowd(number: int, start: int = 10, end: int = 20) -> list[Announcement]:
    return [record(f"{index}", start, end) for index in range(number)]


def by_number(peer_id: PeerId) -> float:
    """Number 7 is 8 ms away."""
    return (int(peer_id) + 1) / 1000


@pytest.mark.parametrize(
    ("theirs", "fit"),
    [
        ((10, 20), Fit.AT_OUR_END),
        ((5, 11), Fit.BEYOND_OUR_END),
        ((0, 30), Fit.BEYOND_OUR_END),
        ((5, 10), Fit.WITHIN),
        ((0, 10), None),  # the route would have begun there
        ((11, 20), None),  # a gap
    ],
)
def test_a_route_goes_on_where_our_layers_end_or_leaves_us_for_a_server_that_begins_within(
    theirs: tuple[int, int], fit: Fit | None
):
    assert fit_of(Span(*theirs), Span(0, 10)) is fit


def test_only_servers_that_a_route_can_go_on_to_are_measured():
    alike = record("good", 10, 20)
    records = [
        alike,
        US,
        replace(alike, peer_id=PeerId("joining"), state=ServerState.JOINING),
        replace(alike, peer_id=PeerId("draining"), state=ServerState.DRAINING),
        replace(alike, peer_id=PeerId("other numerics"), numerics="native-1"),
        replace(alike, peer_id=PeerId("other depth"), num_layers=31),
        record("before", 0, 10),
    ]
    assert [one.peer_id for one in followers(records, US)] == ["good"]


def test_a_last_server_measures_nobody_but_those_within_its_span():
    last = record("us", 20, 30)
    assert [one.peer_id for one in followers([*crowd(3), record("within", 25, 30)], last)] == ["within"]


def test_a_round_is_bounded_and_all_are_known_after_some():
    notes = Notes(US)
    asked, now = rounds(notes, crowd(20), by_number, times=3)

    assert [len(one) for one in asked] == [PINGED_AT_ONCE, PINGED_AT_ONCE, 4]
    assert len(notes.nearest(now)) == 20
    assert notes.knows_enough(now)


def test_of_many_the_nearest_are_announced_and_stay_fresh():
    """Distant ones are tried once; the nearest again and again, the longest unmeasured first."""
    notes, records = Notes(US), crowd(60)
    asked, now = rounds(notes, records, by_number, times=20)
    nearest = notes.nearest(now)

    assert list(nearest) == [PeerId(f"{index}") for index in range(MAX_NEXT_HOPS)]
    assert list(nearest.values()) == sorted(nearest.values())
    last_asked = {one.peer_id: at for at, some in enumerate(asked) for one in some}
    assert all(len(asked) - last_asked[peer] <= FORGOTTEN_SECONDS / 30 / 2 for peer in nearest)
    assert max(map(len, asked)) <= PINGED_AT_ONCE


def test_a_distance_is_measured_again_when_it_grows_old():
    notes = Notes(US)
    rounds(notes, crowd(2), by_number, times=1)
    assert notes.whom_to_measure(AGAIN_SECONDS - 1, random.random) == []
    assert len(notes.whom_to_measure(AGAIN_SECONDS, random.random)) == 2


def test_what_could_not_be_measured_again_is_not_announced_for_ever():
    notes = Notes(US)
    rounds(notes, crowd(2), by_number, times=1)
    assert len(notes.nearest(FORGOTTEN_SECONDS - 1)) == 2
    assert notes.nearest(FORGOTTEN_SECONDS) == {}


def test_a_server_that_has_gone_is_dropped_at_once():
    """Whether its record is gone, it drains, or it doesn't answer."""
    notes, records = Notes(US), crowd(3)
    rounds(notes, records, by_number, times=1)
    notes.measured(PeerId("2"), None, 30.0)
    notes.see([replace(records[0], state=ServerState.DRAINING), records[2]], 0.0)

    assert notes.nearest(31.0) == {}


def test_a_server_that_does_not_answer_is_left_alone_for_a_while():
    notes, records = Notes(US), crowd(1)
    rounds(notes, records, lambda _: None, times=1)
    assert notes.whom_to_measure(ABSENT_SECONDS - 1, random.random) == []
    assert notes.whom_to_measure(ABSENT_SECONDS, random.random) == records


def test_those_that_are_probably_near_come_first_and_others_by_lot():
    """Else a swarm of liars in our network would hide everybody else."""
    near = [record(f"near {index}", 10, 20, f"192.0.3.{index}") for index in range(9)]
    same_region = [
        record(f"region {index}", 10, 20, f"198.51.100.{index}", region="berlin") for index in range(9)
    ]
    far = [record(f"far {index}", 10, 20, "[2001:db8::7]") for index in range(200)]
    notes = Notes(US)
    notes.see([*far, *same_region, *near], 0.0)
    first = notes.whom_to_measure(0.0, random.Random(1).random)

    assert all(one.peer_id.startswith("near") for one in first[: PINGED_AT_ONCE // 2])
    assert sum(one.peer_id.startswith("far") for one in first) >= PINGED_AT_ONCE // 2 - 1
    notes.see([*far, *same_region], 0.0)
    second = notes.whom_to_measure(0.0, random.Random(1).random)
    assert all(one.peer_id.startswith("region") for one in second[: PINGED_AT_ONCE // 2])


def test_servers_within_our_span_take_few_places_from_those_that_go_further():
    notes = Notes(US)
    within = [record(f"{index}", 5, 10) for index in range(30)]
    beyond = [record(f"{index}", 10, 20) for index in range(30, 60)]
    _, now = rounds(notes, [*within, *beyond], by_number, times=10)
    assert sum(int(peer) < 30 for peer in notes.nearest(now)) == MOST_WITHIN
    notes.see(within, 0.0)
    assert len(notes.nearest(now)) == MAX_NEXT_HOPS


def test_thousands_cost_no_more_than_a_few():
    notes, records = Notes(US), crowd(5000)
    asked, now = rounds(notes, records, by_number, times=2)
    assert [len(one) for one in asked] == [PINGED_AT_ONCE] * 2
    assert not notes.knows_enough(now)


def test_only_numbers_that_a_record_takes_are_noted():
    notes = Notes(US)
    notes.see(crowd(3), 0.0)
    notes.measured(PeerId("0"), 0.0, 0.0)
    notes.measured(PeerId("1"), 1e9, 0.0)
    with pytest.raises(ValueError, match="seconds"):
        notes.measured(PeerId("2"), math.nan, 0.0)

    assert notes.nearest(0.0) == {PeerId("0"): 1e-6, PeerId("1"): 60.0}


def noted(way: Way, *, now_by: dict[PeerId, Way]) -> tuple[Notes, Announcement]:
    """Notes of one server that was measured on this way at second 0; tunnels lead as `now_by` says."""
    one = record("0", 10, 20)
    notes = Notes(US, now_by.__getitem__)
    notes.see([one], 0.0)
    notes.measured(one.peer_id, 0.08, 0.0, way=way, address=one.address)
    return notes, one


@pytest.mark.parametrize(("then", "since"), [(Way.RELAYED, Way.PUNCHED), (Way.PUNCHED, Way.RELAYED)])
def test_a_server_that_is_reached_in_another_way_is_measured_again_soon(then: Way, since: Way):
    """Not after two minutes: the distance that is announced is that of the way as it is."""
    now_by = {PeerId("0"): then}
    notes, one = noted(then, now_by=now_by)
    assert not notes.has_other_ways(OTHER_WAY_SECONDS)
    assert notes.whom_to_measure(OTHER_WAY_SECONDS, random.random) == []
    now_by[one.peer_id] = since
    assert notes.has_other_ways(OTHER_WAY_SECONDS)
    assert notes.whom_to_measure(OTHER_WAY_SECONDS, random.random) == [one]

    notes.measured(one.peer_id, 0.04, OTHER_WAY_SECONDS, way=since, address=one.address)
    assert not notes.has_other_ways(2 * OTHER_WAY_SECONDS)
    assert notes.whom_to_measure(2 * OTHER_WAY_SECONDS, random.random) == []


def test_a_way_that_goes_to_and_fro_is_not_measured_all_the_time():
    now_by = {PeerId("0"): Way.RELAYED}
    notes, _ = noted(Way.PUNCHED, now_by=now_by)
    assert not notes.has_other_ways(OTHER_WAY_SECONDS - 0.1)


def test_a_server_with_other_addresses_is_measured_again_with_the_next_round():
    """A router has opened a port for it. Its own words make no round urgent."""
    notes, one = noted(Way.RELAYED, now_by={PeerId("0"): Way.RELAYED})
    elsewhere = replace(one, endpoints=("192.0.2.9:4600",))
    notes.see([elsewhere], 30.0)
    assert not notes.has_other_ways(30.0)
    assert notes.whom_to_measure(30.0, random.random) == [elsewhere]


def test_a_server_that_was_dialled_directly_has_no_other_way_whatever_its_tunnel_does():
    notes, _ = noted(Way.DIRECT, now_by={PeerId("0"): Way.RELAYED})
    assert not notes.has_other_ways(60.0)


def test_servers_that_have_changed_do_not_push_out_those_whose_turn_it_is():
    """Records cost nothing: a liar may have as many as it likes, and new addresses in each."""
    others = crowd(PINGED_AT_ONCE)
    liars = [record(f"liar{index}", 10, 20) for index in range(50)]
    notes = Notes(US)
    notes.see([*others, *liars], 0.0)
    for one in others:
        notes.measured(one.peer_id, 0.01, 0.0, address=one.address)
    for one in liars:
        notes.measured(one.peer_id, 0.02, AGAIN_SECONDS - 2 * OTHER_WAY_SECONDS, address=one.address)
    moved = [replace(one, endpoints=("192.0.2.9:4600",)) for one in liars]
    notes.see([*others, *moved], AGAIN_SECONDS)

    assert notes.whom_to_measure(AGAIN_SECONDS, random.random) == others


def test_while_no_tunnel_is_open_nothing_has_changed():
    """The one that was measured is closed with the round."""
    one = record("0", 10, 20)
    notes = Notes(US, lambda peer_id: None)
    notes.see([one], 0.0)
    notes.measured(one.peer_id, 0.08, 0.0, way=Way.PUNCHED, address=one.address)
    assert not notes.has_other_ways(60.0)


def test_a_server_that_has_gone_has_no_other_way():
    notes, _ = noted(Way.RELAYED, now_by={})
    notes.see([], 60.0)
    assert not notes.has_other_ways(60.0)
