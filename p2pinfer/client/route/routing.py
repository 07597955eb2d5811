"""The fastest chain of servers for a session, found from delays and compute times. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from p2pinfer.errors import NoRouteError
from p2pinfer.swarm.census import missing_spans
from p2pinfer.types import PeerId, Span

CLIENT = PeerId("")
"""Stands for the client in a delay function."""

Delay = Callable[[PeerId, PeerId], float]
"""One-way seconds from one peer (or CLIENT) to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A server that could be a hop."""

    peer_id: PeerId
    layers: Span
    numerics: str
    seconds_per_layer: float
    opening_seconds: float = 0.0
    """The price per token of beginning here: the replay, spread over the tokens to come."""
    held: bool = False
    """True if it has the session's caches already, of exactly these layers."""


@dataclass(frozen=True, slots=True)
class RouteHop:
    """One server and the layers that it runs in this route; `held` if it has the session already."""

    peer_id: PeerId
    layers: Span
    held: bool = False


def find_route(candidates: Iterable[Candidate], num_layers: int, delay: Delay) -> list[RouteHop]:
    """Return the chain that runs one token through [0, num_layers) soonest.

    Dijkstra over (boundary, peer that reached it); a hop may start and stop in the middle of its
    server's span, unless it is held. Routes never mix numerics classes. Raises NoRouteError naming the
    missing layers.
    """
    everyone = list(candidates)
    best: tuple[float, list[RouteHop]] | None = None
    for numerics in sorted({candidate.numerics for candidate in everyone}):
        alike = [candidate for candidate in everyone if candidate.numerics == numerics]
        found = _shortest(alike, num_layers, delay)
        if found is not None and (best is None or found[0] < best[0]):
            best = found
    if best is not None:
        return best[1]
    missing = missing_spans([candidate.layers for candidate in everyone], num_layers)
    if missing:
        raise NoRouteError(f"no server for {name_layers(missing)}", missing)
    raise NoRouteError("the layers are all there, but no chain of servers that compute alike holds them")


def _shortest(
    candidates: Sequence[Candidate], num_layers: int, delay: Delay
) -> tuple[float, list[RouteHop]] | None:
    boundaries = sorted({num_layers, *(candidate.layers.start for candidate in candidates)})
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
            arrival = seconds + delay(at, candidate.peer_id) + candidate.opening_seconds
            for edge in _exits(candidate, reached, boundaries):
                layers = Span(reached, edge)
                cost = arrival + len(layers) * candidate.seconds_per_layer
                hops = [*route, RouteHop(candidate.peer_id, layers, candidate.held)]
                heapq.heappush(frontier, (cost, next(order), edge, candidate.peer_id, hops))
    return None


def _exits(candidate: Candidate, reached: int, boundaries: Sequence[int]) -> Iterable[int]:
    """Where a route that enters at `reached` may leave. A held cache serves all its layers or none."""
    if candidate.held:
        return [candidate.layers.end] if reached == candidate.layers.start else []
    edges = [edge for edge in boundaries if reached < edge <= candidate.layers.end]
    return dict.fromkeys([*edges, candidate.layers.end])


def name_layers(spans: Iterable[Span]) -> str:
    """Name layers for people: `layers 10-19 and 25`, with the last one included.

    >>> name_layers([Span(10, 20), Span(25, 26)])
    'layers 10-19 and 25'
    """
    names = [str(span.start) if len(span) == 1 else f"{span.start}-{span.end - 1}" for span in spans]
    return f"layers {' and '.join(names)}"
