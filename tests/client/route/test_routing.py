"""The route is the fastest chain, computed from delays and compute times."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.route.routing import (
    CLIENT,
    Candidate,
    RouteHop,
    find_route,
    name_layers,
)
from p2pinfer.errors import NoRouteError
from p2pinfer.swarm.census import missing_spans
from p2pinfer.types import PeerId, Span


def server(name: str, start: int, end: int, *, seconds: float = 0.001, numerics: str = "n") -> Candidate:
    return Candidate(
        peer_id=PeerId(name), layers=Span(start, end), numerics=numerics, seconds_per_layer=seconds
    )


def nearby(_: PeerId, __: PeerId) -> float:
    return 0.01


def hops(*route: tuple[str, int, int]) -> list[RouteHop]:
    return [RouteHop(PeerId(name), Span(start, end)) for name, start, end in route]


def test_one_server_with_everything_beats_two_with_halves():
    servers = [server("a", 0, 4), server("b", 4, 8), server("whole", 0, 8)]
    assert find_route(servers, 8, nearby) == hops(("whole", 0, 8))


def test_a_near_pair_beats_a_far_whole():
    def delay(here: PeerId, there: PeerId) -> float:
        return 1.0 if "whole" in (here, there) else 0.001

    servers = [server("a", 0, 4), server("b", 4, 8), server("whole", 0, 8)]
    assert find_route(servers, 8, delay) == hops(("a", 0, 4), ("b", 4, 8))


def test_a_fast_server_takes_over_in_the_middle_of_a_slow_ones_span():
    servers = [server("slow", 0, 6, seconds=1.0), server("fast", 2, 8, seconds=0.001)]
    assert find_route(servers, 8, nearby) == hops(("slow", 0, 2), ("fast", 2, 8))


def test_delays_between_servers_count_not_only_those_to_the_client():
    def delay(here: PeerId, there: PeerId) -> float:
        return 5.0 if {here, there} == {"a", "far"} else 0.01

    servers = [server("a", 0, 4), server("far", 4, 8), server("near", 4, 8, seconds=0.002)]
    assert find_route(servers, 8, delay) == hops(("a", 0, 4), ("near", 4, 8))


def test_a_route_never_mixes_numerics():
    servers = [server("a", 0, 4), server("b", 4, 8, numerics="other")]
    with pytest.raises(NoRouteError, match="compute alike"):
        find_route(servers, 8, nearby)
    servers += [server("c", 0, 4, seconds=1.0, numerics="other")]
    assert [hop.peer_id for hop in find_route(servers, 8, nearby)] == ["c", "b"]


def test_missing_layers_are_named_as_people_count_them():
    with pytest.raises(NoRouteError, match="layers 10-19 and 25-29") as error:
        find_route([server("a", 0, 10), server("b", 20, 25)], 30, nearby)
    assert error.value.missing == (Span(10, 20), Span(25, 30))


def test_nobody_at_all_means_every_layer_is_missing():
    with pytest.raises(NoRouteError, match="layers 0-29"):
        find_route([], 30, nearby)


def test_layers_are_named_with_their_last_one_included():
    assert name_layers([Span(10, 20), Span(25, 26)]) == "layers 10-19 and 25"


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(1, 8), st.floats(0.0001, 1.0)).filter(lambda s: s[0] < s[1]),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_a_route_is_found_exactly_when_every_layer_is_held_and_is_the_cheapest(spans, random):
    servers = [server(str(i), start, end, seconds=cost) for i, (start, end, cost) in enumerate(spans)]
    delays: dict[tuple[PeerId, PeerId], float] = {}

    def delay(here: PeerId, there: PeerId) -> float:
        return delays.setdefault((here, there), random.uniform(0.001, 1))

    if missing_spans([candidate.layers for candidate in servers], 8):
        with pytest.raises(NoRouteError):
            find_route(servers, 8, delay)
        return
    route = find_route(servers, 8, delay)
    held = {candidate.peer_id: candidate for candidate in servers}
    assert route[0].layers.start == 0 and route[-1].layers.end == 8
    assert all(one.layers.end == two.layers.start for one, two in pairwise(route))
    assert all(hop.layers.within(held[hop.peer_id].layers) for hop in route)

    def cost(chain: list[RouteHop]) -> float:
        peers = [CLIENT, *(hop.peer_id for hop in chain), CLIENT]
        return sum(delay(a, b) for a, b in pairwise(peers)) + sum(
            len(hop.layers) * held[hop.peer_id].seconds_per_layer for hop in chain
        )

    single = [hops((str(i), 0, 8)) for i, (start, end, _) in enumerate(spans) if (start, end) == (0, 8)]
    assert all(cost(route) <= cost(other) + 1e-9 for other in single)


def held(name: str, start: int, end: int, *, seconds: float = 0.001) -> Candidate:
    return Candidate(
        peer_id=PeerId(name), layers=Span(start, end), numerics="n", seconds_per_layer=seconds, held=True
    )


def fresh(name: str, start: int, end: int, *, opening: float = 0.05) -> Candidate:
    return Candidate(
        peer_id=PeerId(name),
        layers=Span(start, end),
        numerics="n",
        seconds_per_layer=0.001,
        opening_seconds=opening,
    )


def test_hops_that_hold_a_session_stay_and_only_the_gap_is_filled():
    candidates = [
        held("a", 0, 4),
        held("c", 6, 8),
        fresh("other-a", 0, 4),
        fresh("b", 3, 7),
        fresh("c", 6, 8),
    ]
    assert find_route(candidates, 8, nearby) == [
        RouteHop(PeerId("a"), Span(0, 4), held=True),
        RouteHop(PeerId("b"), Span(4, 6)),
        RouteHop(PeerId("c"), Span(6, 8), held=True),
    ]


def test_what_is_held_is_held_for_all_of_its_layers_or_not_used():
    """Caches of layers 0-3 can't serve layers 2-3 alone."""
    candidates = [held("a", 0, 4), fresh("front", 0, 2), fresh("back", 2, 8)]
    route = find_route(candidates, 8, nearby)
    assert route == [RouteHop(PeerId("a"), Span(0, 4), held=True), RouteHop(PeerId("back"), Span(4, 8))]
    candidates = [held("b", 2, 4), fresh("front", 0, 3), fresh("back", 3, 8)]
    assert find_route(candidates, 8, nearby) == hops(("front", 0, 3), ("back", 3, 8))


def test_a_hop_that_is_slow_enough_is_worth_replacing():
    candidates = [held("slow", 0, 8, seconds=0.1), fresh("quick", 0, 8)]
    assert find_route(candidates, 8, nearby) == hops(("quick", 0, 8))
    candidates = [held("slower", 0, 8, seconds=0.005), fresh("quick", 0, 8)]
    assert find_route(candidates, 8, nearby) == [RouteHop(PeerId("slower"), Span(0, 8), held=True)]
