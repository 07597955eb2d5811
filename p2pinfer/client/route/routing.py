"""The fastest chain of servers for a session, found from delays, compute times and load. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter

import numpy as np

from p2pinfer.backoff import Chance
from p2pinfer.client.route.candidate import LAST_RESORT_SECONDS, Candidate, RouteHop
from p2pinfer.client.route.costs import Costs
from p2pinfer.client.route.links import Broken, Ways
from p2pinfer.errors import NoRouteError
from p2pinfer.swarm.census.stretches import missing_spans
from p2pinfer.types import Span

NEARLY_EQUAL = 0.05
"""Routes are nearly equal if they cost at most this part more than the best one. The measured speeds of equal
machines differ by as much from one minute to the next, so a smaller difference says nothing."""

_MOST_CLASSES = 16
"""Numerics classes that are searched, the largest first: each search takes time, and names cost nothing."""

_ROUNDING_SECONDS = 1e-9
"""Sums of a route's parts in another order differ by less than this."""
_ANY_NUMBER = 2**14


def find_route(
    candidates: Iterable[Candidate],
    num_layers: int,
    *,
    ways: Ways | None = None,
    way_weight: float = 1.0,
    broken: Broken = (),
    chance: Chance | None = None,
) -> list[RouteHop]:
    """Return the chain that runs one token through [0, num_layers) soonest.

    A hop may start and stop in the middle of its server's span, unless it is held. Routes never mix numerics
    classes. The result is exact. With `chance`, nearly equal routes count as equal, if they have no more new
    hops than the best one has: one of them is drawn, each hop in proportion to its server's free room. So
    clients that know the same don't all choose the same. `ways` has the candidates' `next_hop_seconds` as
    arrays, if they are at hand. `way_weight` is what a second on the way costs a token. Raises
    NoRouteError naming the missing layers.
    """
    everyone = list(candidates)
    ways = ways or Ways.of(everyone)
    classes = [
        Costs(members, num_layers, ways, broken, way_weight=way_weight)
        for members in _complete_classes(everyone, num_layers)
    ]
    route = _route(classes, chance)
    if route is not None:
        return route
    missing = missing_spans([candidate.layers for candidate in everyone], num_layers)
    if missing:
        raise NoRouteError(f"no server for {name_layers(missing)}", missing)
    raise NoRouteError("the layers are all there, but no chain of servers that compute alike holds them")


def cheapest_seconds(candidates: Iterable[Candidate], num_layers: int) -> float | None:
    """Return the seconds per token of the route that `find_route` finds; None if there is no route."""
    classes = _complete_classes(list(candidates), num_layers)
    found = [
        float(Costs(members, num_layers, Ways.of(members), (), for_walking=False).first()[0].min())
        for members in classes
    ]
    seconds = min(found, default=math.inf)
    return seconds if math.isfinite(seconds) else None


def _complete_classes(candidates: Sequence[Candidate], num_layers: int) -> list[list[Candidate]]:
    """The members of each numerics class that has every layer."""
    classes: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        classes[candidate.numerics].append(candidate)
    complete = [one for one in classes.items() if _is_complete(one[1], num_layers)]
    complete.sort(key=lambda one: (-len(one[1]), one[0]))
    return [members for _, members in complete[:_MOST_CLASSES]]


def _is_complete(members: Sequence[Candidate], num_layers: int) -> bool:
    """True if some member has each layer. Like `missing_spans`, and quicker for thousands."""
    begin = np.fromiter(map(attrgetter("layers.start"), members), np.intp, len(members))
    end = np.fromiter(map(attrgetter("layers.end"), members), np.intp, len(members))
    changes = (
        np.bincount(begin, minlength=num_layers)[:num_layers]
        - np.bincount(end, minlength=num_layers)[:num_layers]
    )
    return bool((np.cumsum(changes) > 0).all())


def _route(classes: Sequence[Costs], chance: Chance | None) -> list[RouteHop] | None:
    if not classes:
        return None
    firsts = [costs.first() for costs in classes]
    whole = np.concatenate([seconds for seconds, _ in firsts])
    hops = np.concatenate([hops for _, hops in firsts])
    best = int(whole.argmin())
    least = float(whole[best])
    if not math.isfinite(least):
        return None
    # The price of a last resort is no time that a token takes, so it makes no difference smaller.
    most_seconds = least + NEARLY_EQUAL * math.fmod(least, LAST_RESORT_SECONDS) if chance else least
    most_hops = int(hops[best]) if chance else _ANY_NUMBER
    whole[(whole > most_seconds) | (hops > most_hops)] = np.inf
    everyone = [candidate for costs in classes for candidate in costs.candidates]
    first = _drawn(whole, everyone, chance)
    for costs in classes:
        if first < len(costs.candidates):
            return _walk(costs, first, most_seconds, most_hops, chance)
        first -= len(costs.candidates)
    raise AssertionError("the first hop is of one of the classes")


def _walk(
    costs: Costs, first: int, most_seconds: float, most_hops: int, chance: Chance | None
) -> list[RouteHop]:
    """Go from hop to hop, each time to one from which the rest stays within the bounds."""
    route: list[RouteHop] = []
    hop, entered = first, 0
    left = most_seconds - costs.arrival_seconds(first) + _ROUNDING_SECONDS
    while True:
        most_hops -= int(costs.fresh[hop])
        candidate, start = costs.candidates[hop], costs.boundaries[entered]
        rest = costs.boundaries[-1] - start
        if rest * candidate.seconds_per_layer + costs.finish_seconds(hop) <= left:
            return [*route, RouteHop(candidate.peer_id, Span(start, start + rest), candidate.held)]
        seconds, changes = costs.next_hops(hop, entered, left, most_hops)
        following = _drawn(seconds, costs.candidates, chance)
        entered = int(changes[following])
        layers = Span(start, costs.boundaries[entered])
        route.append(RouteHop(candidate.peer_id, layers, candidate.held))
        left -= costs.change_seconds(hop, following, len(layers))
        hop = following


def _drawn(
    seconds: np.typing.NDArray[np.float64], candidates: Sequence[Candidate], chance: Chance | None
) -> int:
    """Draw one of the candidates with finite costs; without `chance` the cheapest.

    A held hop stays if the cheapest route has it.
    """
    best = int(seconds.argmin())
    if chance is None or candidates[best].held:
        return best
    equal = np.flatnonzero(np.isfinite(seconds))
    room = np.cumsum([max(1, candidates[index].free_tokens) for index in equal.tolist()], dtype=np.float64)
    return int(equal[min(len(equal) - 1, np.searchsorted(room, chance() * room[-1], side="right"))])


def name_layers(spans: Iterable[Span]) -> str:
    """Name layers for people: `layers 10-19 and 25`, with the last one included.

    >>> name_layers([Span(10, 20), Span(25, 26)])
    'layers 10-19 and 25'
    """
    names = [str(span.start) if len(span) == 1 else f"{span.start}-{span.end - 1}" for span in spans]
    return f"layers {' and '.join(names)}"
