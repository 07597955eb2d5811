"""Which servers a client pings before it looks for a route. Pure.

A server gets a place only if it answers, and to ping everybody would cost a large swarm dearly. So of many
servers a bounded number is pinged, spread over the layers. Announcements cost little, and may all be one
liar's. So a half of the pings goes to servers that have answered this client before, the best of them first;
a quarter, or less where many were silent, to those that look best by what they announce; and the rest by lot,
so that clients spread out and new servers are found. A server that was silent has its place in the lot alone.
Others are asked in the place of those that don't answer, by lot too: however many servers look better than
they are, the honest ones have their part.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from p2pinfer.backoff import Chance
from p2pinfer.client.route.candidate import Candidate
from p2pinfer.swarm.census.stretches import missing_spans
from p2pinfer.types import PeerId, Span

EVERYBODY = 24
"""Of so few servers all are pinged: each may be the one that replaces a lost hop at once."""
MOST_PINGED = 64
"""At once, of more servers: with an 80-layer model and spans of 20 layers each layer has 16 of them."""
ENOUGH_PER_LAYER = 4
"""If fewer servers of a layer have answered, others are asked."""

_ASSUMED_ROUND_TRIP_SECONDS = 0.05
_NEVER = np.iinfo(np.int64).max


class Standing(Enum):
    """What is known of a server from the times that this client has pinged it."""

    FRESH = 0  # it has answered a moment ago and needs no ping
    ANSWERED = 1
    NEW = 2  # it was never pinged
    SILENT = 3  # it didn't answer the last time
    DOUBTED = 4  # it was silent, or failed, a moment ago, and is asked as a last resort


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """A server that could be pinged. `candidate` has its last round trip if it has answered before."""

    candidate: Candidate
    standing: Standing


_MEASURED = (Standing.FRESH, Standing.ANSWERED)


def whom_to_ping(
    prospects: Sequence[Prospect],
    num_layers: int,
    chance: Chance,
    *,
    way_weight: float = 1.0,
    held: Sequence[Span] = (),
    most: int = MOST_PINGED,
) -> list[int]:
    """Return the places in `prospects` of those to ping now: all of a few, `most` of many.

    The fresh ones count, and aren't pinged. Layers that are `held` already need fewer than the others.
    Numerics classes share the pings in proportion to their servers, since a route is made of one class.
    """
    trusted = _trusted(prospects)
    if len(trusted) <= EVERYBODY:
        return [place for place in trusted if prospects[place].standing is not Standing.FRESH]
    spans, seconds = _spans(prospects), _seconds_per_layer(prospects, way_weight)
    served = _served(held, num_layers, ENOUGH_PER_LAYER)
    classes = _classes(prospects, trusted, num_layers, held)
    trust = _trust(prospects)
    in_all = sum(map(len, classes))
    found: list[int] = []
    for members in classes:
        standings: dict[Standing, list[int]] = {standing: [] for standing in Standing}
        for one in members:
            standings[prospects[one].standing].append(one)
        known, new = standings[Standing.ANSWERED], standings[Standing.NEW]
        there = served + _served(
            [prospects[one].candidate.layers for one in standings[Standing.FRESH]], num_layers
        )
        share = round(most * len(members) / in_all) - len(standings[Standing.FRESH])
        chosen = _spread(sorted(known, key=seconds.__getitem__), spans, there, share // 2)
        boasts = int((share - len(chosen)) / 2 * trust)
        chosen += _spread(sorted(new, key=seconds.__getitem__), spans, there, boasts)
        others = {*known, *new, *standings[Standing.SILENT]}.difference(chosen)
        chosen += _spread(_by_lot(sorted(others), prospects, chance), spans, there, share - len(chosen))
        found += chosen
    return found


def worth_waiting_for(
    prospects: Sequence[Prospect], pinged: Sequence[int], num_layers: int, *, held: Sequence[Span] = ()
) -> list[int]:
    """Return those of the `pinged` whose answers a search waits for.

    Where servers that have answered before are enough, nobody waits for strangers: they will be known by the
    next search.
    """
    if len(_trusted(prospects)) <= EVERYBODY:
        return list(pinged)
    known = [place for place in pinged if prospects[place].standing is Standing.ANSWERED]
    fresh = [place for place, one in enumerate(prospects) if one.standing is Standing.FRESH]
    there = _served(held, num_layers, ENOUGH_PER_LAYER)
    there += _served([prospects[place].candidate.layers for place in (*known, *fresh)], num_layers)
    return known if (there >= ENOUGH_PER_LAYER).all() else list(pinged)


def whom_instead(
    prospects: Sequence[Prospect],
    asked: Sequence[bool | None],
    num_layers: int,
    chance: Chance,
    *,
    last_resort: bool = False,
    held: Sequence[Span] = (),
    most: int = MOST_PINGED,
) -> list[int]:
    """Return those to ping in the place of others that haven't answered; nobody if enough have.

    `asked` says of each server whether it has answered; None: it wasn't asked. It is enough if one numerics
    class has ENOUGH_PER_LAYER for each layer, or as many as there are. As a `last_resort` those are
    asked as well that are doubted.
    """
    possible = range(len(prospects)) if last_resort else _trusted(prospects)
    if len(possible) <= EVERYBODY:
        return [place for place in possible if asked[place] is None]
    spans, served = _spans(prospects), _served(held, num_layers, ENOUGH_PER_LAYER)
    needy: list[int] = []
    for members in _classes(prospects, possible, num_layers, held):
        there = served + _served(
            [prospects[one].candidate.layers for one in members if asked[one]], num_layers
        )
        needed = [
            one
            for one in members
            if asked[one] is None and (there[spans[one, 0] : spans[one, 1]] < ENOUGH_PER_LAYER).any()
        ]
        if not needed and there.all():
            return []
        needy += needed
    return _spread(_by_lot(needy, prospects, chance), spans, served, most)


def _served(layers: Iterable[Span], num_layers: int, by: int = 1) -> NDArray[np.int64]:
    """[layers]: how many serve each, if each of `layers` counts as so many."""
    there = np.zeros(num_layers, np.int64)
    for span in layers:
        there[span.start : span.end] += by
    return there


def _spans(prospects: Sequence[Prospect]) -> NDArray[np.int64]:
    """[prospects, 2]: where each one's layers start and end."""
    return np.array(
        [(one.candidate.layers.start, one.candidate.layers.end) for one in prospects], np.int64
    ).reshape(-1, 2)


def _trusted(prospects: Sequence[Prospect]) -> list[int]:
    return [place for place, one in enumerate(prospects) if one.standing is not Standing.DOUBTED]


def _classes(
    prospects: Sequence[Prospect], places: Sequence[int], num_layers: int, held: Sequence[Span]
) -> list[list[int]]:
    """The members of each numerics class that announces every layer; if none does, all as one class."""
    classes: dict[str, list[int]] = defaultdict(list)
    for place in places:
        classes[prospects[place].candidate.numerics].append(place)
    complete = [
        members
        for members in classes.values()
        if not missing_spans([*held, *(prospects[one].candidate.layers for one in members)], num_layers)
    ]
    return complete or [list(places)]


def _trust(prospects: Sequence[Prospect]) -> float:
    """The part of those pinged so far that answered. Where many records are lies, the best ones are first."""
    found = Counter(one.standing for one in prospects)
    answered = 1 + found[Standing.ANSWERED] + found[Standing.FRESH]
    return answered / (answered + found[Standing.SILENT] + found[Standing.DOUBTED])


def _seconds_per_layer(prospects: Sequence[Prospect], way_weight: float) -> list[float]:
    """About what each server adds to a token, per layer that it holds."""
    round_trips = _round_trips(prospects)
    return [
        one.candidate.seconds_per_layer
        + (one.candidate.entry_seconds + way_weight * round_trip) / len(one.candidate.layers)
        for one, round_trip in zip(prospects, round_trips, strict=True)
    ]


def _round_trips(prospects: Sequence[Prospect]) -> list[float]:
    """The measured ones; of others, the way over a server that was measured and has announced its link."""
    known = [one.candidate for one in prospects if one.standing in _MEASURED]
    typical = (
        float(np.median([candidate.round_trip_seconds for candidate in known]))
        if known
        else _ASSUMED_ROUND_TRIP_SECONDS
    )
    over: dict[PeerId, float] = {}
    for candidate in known:
        for peer_id, seconds in candidate.next_hop_seconds.items():
            over[peer_id] = min(over.get(peer_id, np.inf), candidate.round_trip_seconds + seconds)
    return [
        one.candidate.round_trip_seconds
        if one.standing in _MEASURED
        else over.get(one.candidate.peer_id, typical)
        for one in prospects
    ]


def _by_lot(members: Sequence[int], prospects: Sequence[Prospect], chance: Chance) -> list[int]:
    """In an order that is drawn, those that were silent last."""
    silent = (Standing.SILENT, Standing.DOUBTED)
    return sorted(members, key=lambda one: (prospects[one].standing in silent, chance()))


def _spread(
    order: Sequence[int], spans: NDArray[np.int64], served: NDArray[np.int64], count: int
) -> list[int]:
    """Take `count` of `order`: again and again the first that holds the layer that the fewest serve."""
    left = np.array(order, np.int64)
    starts, ends = spans[left, 0], spans[left, 1]
    there = served.copy()
    found: list[int] = []
    while len(found) < count:
        layer = int(there.argmin())
        if there[layer] == _NEVER:
            break
        holders = np.flatnonzero((starts <= layer) & (layer < ends))
        if not len(holders):
            there[layer] = _NEVER
            continue
        first = holders[0]
        found.append(int(left[first]))
        here = there[starts[first] : ends[first]]
        here[here != _NEVER] += 1
        ends[first] = 0  # taken
    return found
