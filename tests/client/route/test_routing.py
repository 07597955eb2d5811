"""The route is the fastest chain, computed from delays and compute times.

The slow search in scripts/benchmarks/routing/dijkstra.py is what the fast one is compared with.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from p2pinfer.client.route.candidate import CLIENT, LAST_RESORT_SECONDS, Candidate, RouteHop
from p2pinfer.client.route.links import Ways
from p2pinfer.client.route.routing import NEARLY_EQUAL, cheapest_seconds, find_route, name_layers
from p2pinfer.errors import NoRouteError
from p2pinfer.types import PeerId, Span
from scripts.benchmarks.routing.dijkstra import delay_between, route_seconds, shortest_route
from scripts.benchmarks.routing.swarms import small_swarm

ROUND_TRIP_SECONDS = 0.02


def server(
    name: str,
    start: int,
    end: int,
    *,
    seconds: float = 0.001,
    numerics: str = "n",
    away: float = ROUND_TRIP_SECONDS,
    to: dict[str, float] | None = None,
    room: int = 0,
) -> Candidate:
    """A server that is not part of the session yet; `to` has its round trips to others."""
    return Candidate(
        peer_id=PeerId(name),
        layers=Span(start, end),
        numerics=numerics,
        seconds_per_layer=seconds,
        round_trip_seconds=away,
        next_hop_seconds={PeerId(peer): round_trip for peer, round_trip in (to or {}).items()},
        free_tokens=room,
    )


def held(name: str, start: int, end: int, *, seconds: float = 0.001) -> Candidate:
    return replace(server(name, start, end, seconds=seconds), held=True)


def fresh(name: str, start: int, end: int, *, entry: float = 0.05) -> Candidate:
    return replace(server(name, start, end), entry_seconds=entry)


def hops(*route: tuple[str, int, int]) -> list[RouteHop]:
    return [RouteHop(PeerId(name), Span(start, end)) for name, start, end in route]


def test_one_server_with_everything_beats_two_with_halves():
    servers = [server("a", 0, 4), server("b", 4, 8), server("whole", 0, 8)]
    assert find_route(servers, 8) == hops(("whole", 0, 8))


def test_a_peer_has_two_candidates_and_another_none():
    """A hop that is held and could be entered anew, and a server that is announced and doesn't answer."""
    gone = server("gone", 4, 8, to={"a": 0.001})
    here = [server("a", 0, 4, to={"gone": 0.001, "b": 0.001}), server("b", 4, 8)]
    ways = Ways.of([*here, gone])
    assert find_route([held("a", 0, 4), *here], 8, ways=ways) == [
        replace(hops(("a", 0, 4))[0], held=True),
        *hops(("b", 4, 8)),
    ]


def test_a_near_pair_beats_a_far_whole():
    near = {"away": 0.002}
    servers = [server("a", 0, 4, **near), server("b", 4, 8, **near), server("whole", 0, 8, away=2.0)]
    assert find_route(servers, 8) == hops(("a", 0, 4), ("b", 4, 8))


def test_a_fast_server_takes_over_in_the_middle_of_a_slow_ones_span():
    servers = [server("slow", 0, 6, seconds=1.0), server("fast", 2, 8, seconds=0.001)]
    assert find_route(servers, 8) == hops(("slow", 0, 2), ("fast", 2, 8))


def test_delays_between_servers_count_not_only_those_to_the_client():
    servers = [server("a", 0, 4, to={"far": 5.0}), server("far", 4, 8), server("near", 4, 8, seconds=0.002)]
    assert find_route(servers, 8) == hops(("a", 0, 4), ("near", 4, 8))


def test_a_measured_short_way_makes_a_slower_server_the_better_next_one():
    servers = [
        server("a", 0, 4, to={"friend": 0.001}),
        server("friend", 4, 8, seconds=0.004),
        server("b", 4, 8),
    ]
    assert find_route(servers, 8) == hops(("a", 0, 4), ("friend", 4, 8))


def test_no_way_is_shorter_than_what_the_client_has_measured_of_its_ends_allows():
    """A liar announces no way at all to servers far away."""
    servers = [
        server("liar", 0, 4, to={"far": 0.0}),
        server("far", 4, 8, away=0.1),
        server("near", 4, 8, seconds=0.008, away=0.05),
    ]
    assert find_route(servers, 8) == hops(("liar", 0, 4), ("near", 4, 8))


def test_where_ways_cost_little_the_quick_server_far_away_wins():
    servers = [server("near", 0, 8, seconds=0.01, away=0.01), server("far", 0, 8, away=0.2)]
    assert find_route(servers, 8) == hops(("near", 0, 8))
    assert find_route(servers, 8, way_weight=1 / 32) == hops(("far", 0, 8))


def test_a_broken_link_is_gone_around():
    servers = [server("a", 0, 4), server("b", 4, 8), server("other", 4, 8, seconds=0.002)]
    broken = {(PeerId("a"), PeerId("b"))}
    assert find_route(servers, 8, broken=broken) == hops(("a", 0, 4), ("other", 4, 8))
    assert find_route(servers[:2], 8, broken=broken) == hops(("a", 0, 4), ("b", 4, 8))


def test_a_third_server_may_carry_a_token_around_a_broken_link():
    """Over a single layer, in the middle of where the other two could change."""
    servers = [server("a", 0, 6), server("b", 2, 8), server("between", 0, 8, seconds=1.0)]
    route = find_route(servers, 8, broken={(PeerId("a"), PeerId("b"))})
    assert [(hop.peer_id, len(hop.layers)) for hop in route][1] == ("between", 1)


def test_a_broken_link_to_or_from_the_client_is_gone_around():
    servers = [server("a", 0, 8), server("b", 0, 8, seconds=0.1)]
    assert find_route(servers, 8, broken={(CLIENT, PeerId("a"))}) == hops(("b", 0, 1), ("a", 1, 8))
    assert find_route(servers, 8, broken={(PeerId("a"), CLIENT)}) == hops(("a", 0, 7), ("b", 7, 8))


def test_a_route_never_mixes_numerics():
    servers = [server("a", 0, 4), server("b", 4, 8, numerics="other")]
    with pytest.raises(NoRouteError, match="compute alike"):
        find_route(servers, 8)
    servers += [server("c", 0, 4, seconds=1.0, numerics="other")]
    assert [hop.peer_id for hop in find_route(servers, 8)] == ["c", "b"]


def test_missing_layers_are_named_as_people_count_them():
    with pytest.raises(NoRouteError, match="layers 10-19 and 25-29") as error:
        find_route([server("a", 0, 10), server("b", 20, 25)], 30)
    assert error.value.missing == (Span(10, 20), Span(25, 30))


def test_nobody_at_all_means_every_layer_is_missing():
    with pytest.raises(NoRouteError, match="layers 0-29"):
        find_route([], 30)


def test_layers_are_named_with_their_last_one_included():
    assert name_layers([Span(10, 20), Span(25, 26)]) == "layers 10-19 and 25"


def test_hops_that_hold_a_session_stay_and_only_the_gap_is_filled():
    candidates = [
        held("a", 0, 4),
        held("c", 6, 8),
        fresh("other-a", 0, 4),
        fresh("b", 3, 7),
        fresh("c", 6, 8),
    ]
    assert find_route(candidates, 8) == [
        RouteHop(PeerId("a"), Span(0, 4), held=True),
        RouteHop(PeerId("b"), Span(4, 6)),
        RouteHop(PeerId("c"), Span(6, 8), held=True),
    ]


def test_what_is_held_is_held_for_all_of_its_layers_or_not_used():
    """Caches of layers 0-3 can't serve layers 2-3 alone."""
    candidates = [held("a", 0, 4), fresh("front", 0, 2), fresh("back", 2, 8)]
    route = find_route(candidates, 8)
    assert route == [RouteHop(PeerId("a"), Span(0, 4), held=True), RouteHop(PeerId("back"), Span(4, 8))]
    candidates = [held("b", 2, 4), fresh("front", 0, 3), fresh("back", 3, 8)]
    assert find_route(candidates, 8) == hops(("front", 0, 3), ("back", 3, 8))


def test_a_peer_is_never_its_own_next_hop():
    """It holds layers 0-3 of the session; the rest would be a second session at the same peer."""
    candidates = [held("a", 0, 4), fresh("a", 0, 8, entry=0.0), fresh("b", 4, 8, entry=1.0)]
    assert find_route(candidates, 8) == hops(("a", 0, 8))


def test_ways_to_peers_that_are_no_candidates_do_not_count():
    """One is of another class, and the session's hop is a candidate twice: as many as there are peers."""
    other = server("other", 0, 4, numerics="m", to={"a": 0.001, "b": 0.001})
    again = replace(fresh("a", 0, 8), next_hop_seconds={PeerId("other"): 0.001})
    candidates = [held("a", 0, 4), again, fresh("b", 4, 8), other]
    alone = [candidates[0], fresh("a", 0, 8), candidates[2]]
    assert find_route(candidates, 8) == find_route(alone, 8)


def test_a_hop_that_is_slow_enough_is_worth_replacing():
    candidates = [held("slow", 0, 8, seconds=0.1), fresh("quick", 0, 8)]
    assert find_route(candidates, 8) == hops(("quick", 0, 8))
    candidates = [held("slower", 0, 8, seconds=0.005), fresh("quick", 0, 8)]
    assert find_route(candidates, 8) == [RouteHop(PeerId("slower"), Span(0, 8), held=True)]


def test_equal_servers_are_drawn_in_proportion_to_their_room():
    servers = [server("small", 0, 8, room=100), server("large", 0, 8, room=300)]
    servers += [server("slow", 0, 8, seconds=0.01, room=10_000)]
    chance = random.Random(1).random
    drawn = Counter(find_route(servers, 8, chance=chance)[0].peer_id for _ in range(200))
    assert drawn.keys() == {"small", "large"}
    assert 2.0 < drawn["large"] / drawn["small"] < 4.5


def test_every_hop_is_drawn():
    servers = [server(f"{start}-{i}", start, start + 4) for start in (0, 4) for i in range(3)]
    chance = random.Random(1).random
    drawn = {tuple(hop.peer_id for hop in find_route(servers, 8, chance=chance)) for _ in range(100)}
    assert len(drawn) == 9


def test_a_drawn_route_has_no_more_hops_than_the_best_one():
    """A change between near servers costs little, but each more hop is one more that may fail."""
    servers = [server(str(i), 0, 8, seconds=0.1, away=0.0001) for i in range(3)]
    chance = random.Random(1).random
    assert all(len(find_route(servers, 8, chance=chance)) == 1 for _ in range(50))


def test_nothing_is_drawn_where_all_hops_are_held():
    candidates = [held("a", 0, 4), held("b", 4, 8), fresh("c", 0, 4, entry=0.0), fresh("d", 4, 8, entry=0.0)]
    chance = random.Random(1).random
    assert all(hop.held for _ in range(50) for hop in find_route(candidates, 8, chance=chance))


def test_among_last_resorts_a_small_difference_is_as_small_as_elsewhere():
    """Five per cent of ten seconds would make every server equal."""
    servers = [fresh("quick", 0, 8, entry=LAST_RESORT_SECONDS), server("slow", 0, 8, seconds=0.05)]
    servers[1] = replace(servers[1], entry_seconds=LAST_RESORT_SECONDS)
    chance = random.Random(1).random
    assert all(find_route(servers, 8, chance=chance) == hops(("quick", 0, 8)) for _ in range(50))


@pytest.mark.parametrize("first_seed", range(0, 400, 100))
def test_the_route_costs_what_the_best_one_costs_and_a_drawn_one_nearly(first_seed):
    """scripts/bench_routing does the same with thousands."""
    for seed in range(first_seed, first_seed + 100):
        chances = random.Random(seed)
        swarm = small_swarm(chances)
        delay = delay_between(swarm.candidates, swarm.broken, swarm.way_weight)
        best = shortest_route(swarm.candidates, swarm.num_layers, delay)
        if best is None:
            with pytest.raises(NoRouteError):
                find_route(swarm.candidates, swarm.num_layers, broken=swarm.broken)
            continue
        above = NEARLY_EQUAL * (best[0] % LAST_RESORT_SECONDS)
        for chance, most_above in ((None, 0.0), (chances.random, above)):
            route = find_route(
                swarm.candidates,
                swarm.num_layers,
                way_weight=swarm.way_weight,
                broken=swarm.broken,
                chance=chance,
            )
            assert_possible(route, swarm.candidates, swarm.num_layers)
            assert route_seconds(route, swarm.candidates, delay) <= best[0] + most_above + 1e-8, seed
        if not swarm.broken and swarm.way_weight == 1.0:
            cheapest = cheapest_seconds(swarm.candidates, swarm.num_layers)
            assert cheapest == pytest.approx(best[0], abs=1e-9), seed


def test_where_costs_differ_the_route_is_the_same_as_the_slow_search_finds():
    for seed in range(150):
        chances = random.Random(seed)
        swarm = small_swarm(chances)
        speeds = {one.peer_id: chances.uniform(0.001, 1) for one in swarm.candidates}
        candidates = [
            replace(one, seconds_per_layer=speeds[one.peer_id], round_trip_seconds=0.5, next_hop_seconds={})
            for one in swarm.candidates
        ]
        best = shortest_route(candidates, swarm.num_layers, delay_between(candidates))
        if best is not None:
            assert find_route(candidates, swarm.num_layers) == best[1], seed


@pytest.mark.parametrize("links", [0, 8])
def test_dozens_of_servers_are_searched_exactly_too(links):
    chances = random.Random(links)
    names = [PeerId(str(number)) for number in range(60)]
    candidates = []
    for name in names:
        start = chances.randrange(12)
        known = {other: chances.random() * 0.1 for other in chances.sample(names, links)}
        one = server(name, start, min(12, start + chances.randint(1, 5)), away=0.1 * chances.random())
        candidates.append(replace(one, seconds_per_layer=0.01 * chances.random(), next_hop_seconds=known))
    delay = delay_between(candidates)
    best = shortest_route(candidates, 12, delay)
    assert best is not None
    assert route_seconds(find_route(candidates, 12), candidates, delay) == pytest.approx(best[0], abs=1e-9)


def assert_possible(route: list[RouteHop], candidates: list[Candidate], num_layers: int) -> None:
    """The hops follow each other from the first layer to the last, each within what its server offers."""
    assert route[0].layers.start == 0 and route[-1].layers.end == num_layers
    assert all(one.layers.end == two.layers.start for one, two in pairwise(route))
    assert all(one.peer_id != two.peer_id for one, two in pairwise(route))
    offers = {(candidate.peer_id, candidate.held): candidate.layers for candidate in candidates}
    for hop in route:
        offer = offers[hop.peer_id, hop.held]
        assert hop.layers == offer if hop.held else hop.layers.within(offer)
