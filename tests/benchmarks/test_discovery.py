"""bench_discovery: how it grinds identities, and how it judges what was measured."""

from __future__ import annotations

import math

from p2pinfer.identity import Identity
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.types import Span
from scripts.benchmarks.discovery.command import pace_of
from scripts.benchmarks.discovery.figures import Eclipse, Flood, Gossip, Rest, Visit, is_whole, part_of
from scripts.benchmarks.discovery.hostile import Forgetful, distance, grind
from scripts.benchmarks.discovery.town import MODEL, SPANS

NEVER = Visit(seconds=math.inf, servers=0)


def eclipse(*visits: Visit) -> Eclipse:
    return Eclipse(
        members=30, hostile=20, identities_made=600, grinding_seconds=2700, servers=8, visits=list(visits)
    )


def flood(kept: int, visit: Visit) -> Flood:
    return Flood(
        identities=775,
        cpu_seconds_each=0.2,
        sleeper_back=kept == 9,
        newcomer_in=kept >= 8,
        kept=kept,
        servers=9,
        visits=[visit],
    )


def test_ground_identities_are_nearer_to_the_key_than_everybody_honest():
    key = root_key(MODEL)
    honest = [Identity.ephemeral() for _ in range(30)]
    nearest = min(distance(key, other) for other in honest)
    ground, made = grind(key, honest, 5)
    assert all(distance(key, one) < nearest for one in ground)
    assert len(ground) == 5 <= made
    assert grind(key, honest, 0) == ([], 0)


def test_a_forgetful_store_says_yes_and_has_nothing():
    store = Forgetful()
    assert store.put(b"key", Identity.ephemeral().peer_id, b"record", 1e12)
    assert store.get(b"key") == []


def test_a_route_is_whole_only_with_every_layer():
    assert is_whole(SPANS)
    assert is_whole(SPANS[:4])
    assert not is_whole(SPANS[:3])
    assert not is_whole([Span(0, 29)])
    assert not is_whole([])


def test_one_newcomer_without_a_route_misses_the_goal():
    found = Visit(seconds=0.8, servers=8)
    assert all(goal.is_met for goal in eclipse(found, found).goals())
    assert [goal.is_met for goal in eclipse(found, found, NEVER).goals()] == [False, True]
    assert [goal.is_met for goal in eclipse(NEVER).goals()] == [False, False]
    assert "never" in "\n".join(eclipse(NEVER).lines())


def test_a_flood_that_displaces_nobody_costs_without_end():
    assert flood(9, Visit(seconds=0.8, servers=9)).cpu_seconds_per_displaced == math.inf
    assert all(goal.is_met for goal in flood(9, Visit(seconds=0.8, servers=9)).goals())
    assert flood(7, NEVER).cpu_seconds_per_displaced == 775 * 0.2 / 2
    assert not any(goal.is_met for goal in flood(7, NEVER).goals())


def test_the_slowest_new_server_counts():
    rest = Rest(members=30, bytes_per_node_hour=1e6, seen_after=[0.5] * 19 + [4.0])
    assert part_of(rest.seen_after, 0.99) == 4.0
    assert not any(goal.is_met for goal in rest.goals())


def test_only_where_keys_are_hidden_is_gossip_what_members_know_each_other_by():
    def known(share: float, *, is_hidden: bool) -> list[bool]:
        found = Gossip(members=30, is_hidden=is_hidden, megabytes=7.0, known=share, least_known=share)
        assert f"{share:.0%}" in "\n".join(found.lines())
        return [goal.is_met for goal in found.goals()]

    assert known(0.97, is_hidden=True) == [True]
    assert known(0.4, is_hidden=True) == [False]
    assert known(0.4, is_hidden=False) == []


def test_honest_records_expire_before_newcomers_come():
    for pace in (pace_of(quick=True, settle=None), pace_of(quick=False, settle=None)):
        assert pace.lifetime_seconds <= pace.settle_seconds - 5
