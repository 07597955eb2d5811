"""A route found the plain way: Dijkstra over (boundary, peer that reached it). Slow, and easy to believe.

The tests compare the product's search with it, and the benchmark its time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import count, pairwise

from p2pinfer.client.route.candidate import CLIENT, LAST_RESORT_SECONDS, Candidate, RouteHop
from p2pinfer.client.route.links import Broken
from p2pinfer.types import PeerId, Span

Delay = Callable[[PeerId, PeerId], float]
"""One-way seconds from one peer (or CLIENT) to another."""


def delay_between(candidates: Sequence[Candidate], broken: Broken = (), way_weight: float = 1.0) -> Delay:
    """Return the delay that a client assumes: half the known round trip, or half of both to the client.

    No way is shorter than the difference of its ends' ways to the client. The delay is in seconds of a
    token's price: a second on the way costs `way_weight`, a last resort its own.
    """
    known = {candidate.peer_id: candidate for candidate in candidates}

    def delay(here: PeerId, there: PeerId) -> float:
        penalty = LAST_RESORT_SECONDS if (here, there) in broken else 0.0
        if CLIENT in (here, there):
            return penalty + way_weight * known[there if here == CLIENT else here].round_trip_seconds / 2
        ends = known[here].round_trip_seconds, known[there].round_trip_seconds
        round_trip = max(known[here].next_hop_seconds.get(there, sum(ends)), abs(ends[0] - ends[1]))
        return penalty + way_weight * round_trip / 2

    return delay


def shortest_route(
    candidates: Sequence[Candidate], num_layers: int, delay: Delay, *, every_layer: bool = True
) -> tuple[float, list[RouteHop]] | None:
    """Return the seconds per token of the cheapest route, and the route; None if there is none.

    All candidates count as one numerics class. Without `every_layer` a route may change servers only where
    one of them begins, or where the present one ends.
    """
    cuts = range(1, num_layers + 1) if every_layer else [candidate.layers.start for candidate in candidates]
    boundaries = sorted({num_layers, *cuts})
    order = count()  # breaks ties, so that routes are never compared
    frontier: list[tuple[float, int, int, PeerId, list[RouteHop]]] = [(0.0, next(order), 0, CLIENT, [])]
    settled: set[tuple[int, PeerId]] = set()
    while frontier:
        seconds, _, reached, at, route = heapq.heappop(frontier)
        if reached == num_layers:
            if at == CLIENT:
                return seconds, route
            heapq.heappush(frontier, (seconds + delay(at, CLIENT), next(order), reached, CLIENT, route))
            continue
        if (reached, at) in settled:
            continue
        settled.add((reached, at))
        for candidate in candidates:
            if reached not in candidate.layers or candidate.peer_id == at:
                continue
            arrival = seconds + delay(at, candidate.peer_id) + candidate.entry_seconds
            for edge in _exits(candidate, reached, boundaries):
                layers = Span(reached, edge)
                cost = arrival + len(layers) * candidate.seconds_per_layer
                hops = [*route, RouteHop(candidate.peer_id, layers, candidate.held)]
                heapq.heappush(frontier, (cost, next(order), edge, candidate.peer_id, hops))
    return None


def route_seconds(route: Sequence[RouteHop], candidates: Iterable[Candidate], delay: Delay) -> float:
    """What a token pays on this route."""
    known = {(candidate.peer_id, candidate.held): candidate for candidate in candidates}
    used = [known[hop.peer_id, hop.held] for hop in route]
    ways = sum(delay(*link) for link in pairwise([CLIENT, *(hop.peer_id for hop in route), CLIENT]))
    return ways + sum(
        candidate.entry_seconds + len(hop.layers) * candidate.seconds_per_layer
        for candidate, hop in zip(used, route, strict=True)
    )


def _exits(candidate: Candidate, reached: int, boundaries: Sequence[int]) -> Iterable[int]:
    """Where a route that enters at `reached` may leave. A held cache serves all its layers or none."""
    if candidate.held:
        return [candidate.layers.end] if reached == candidate.layers.start else []
    edges = [edge for edge in boundaries if reached < edge <= candidate.layers.end]
    return dict.fromkeys([*edges, candidate.layers.end])
