"""Swarms to search: large ones as they may be, and small ones as they come."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from p2pinfer.client.route.candidate import CLIENT, LAST_RESORT_SECONDS, Candidate
from p2pinfer.types import PeerId, Span

_LEAST_LAYERS, _MOST_LAYERS = 4, 40
_NEIGHBOURS_LOOKED_AT = 200
_NEAREST_SECONDS, _SECONDS_PER_STEP = 0.004, 0.06


@dataclass(frozen=True, slots=True)
class SmallSwarm:
    """Everything that the search is given."""

    num_layers: int
    candidates: list[Candidate]
    broken: set[tuple[PeerId, PeerId]]
    way_weight: float


def large_swarm(servers: int, num_layers: int, links: int, chances: random.Random) -> list[Candidate]:
    """Servers on a map, the client in its middle; a round trip grows with the distance.

    Spans of 4 to 40 layers, machines of unequal speed, queues and room. Each server has measured the way to
    the `links` nearest of those it knows that continue its span.
    """
    places = [complex(chances.random(), chances.random()) for _ in range(servers)]
    names = [PeerId(f"peer-{number:05}") for number in range(servers)]
    spans = []
    for _ in range(servers):
        length = min(num_layers, chances.randint(_LEAST_LAYERS, _MOST_LAYERS))
        start = max(0, min(num_layers - length, chances.randint(1 - length, num_layers - 1)))
        spans.append(Span(start, start + length))
    holders = [
        [number for number, span in enumerate(spans) if layer in span] for layer in range(num_layers + 1)
    ]

    def round_trip(one: complex, other: complex) -> float:
        return _NEAREST_SECONDS + _SECONDS_PER_STEP * abs(one - other)

    swarm = []
    for number, (place, span) in enumerate(zip(places, spans, strict=True)):
        others = holders[span.end]
        known = chances.sample(others, min(len(others), _NEIGHBOURS_LOOKED_AT if links else 0))
        nearest = sorted((round_trip(place, places[other]), other) for other in known)[:links]
        swarm.append(
            Candidate(
                peer_id=names[number],
                layers=span,
                numerics="n",
                seconds_per_layer=chances.uniform(0.0005, 0.004),
                entry_seconds=0.0008 + 0.01 * chances.randint(0, 3),
                round_trip_seconds=round_trip(place, 0.5 + 0.5j),
                next_hop_seconds={names[other]: seconds for seconds, other in nearest},
                free_tokens=chances.randint(1_000, 100_000),
            )
        )
    return swarm


def small_swarm(chances: random.Random) -> SmallSwarm:
    """Up to seven servers of up to eight layers: held hops, last resorts, broken links, any ways."""
    num_layers = chances.randint(1, 8)
    peers = [PeerId(name) for name in "abcdefg"[: chances.randint(1, 7)]]
    linked, most_away = chances.choice([0.0, 0.0, 0.2, 0.5, 1.0]), chances.choice([0.0, 0.02, 1.0])
    candidates = []
    for peer in peers:
        start = chances.randrange(num_layers)
        end = chances.randint(start + 1, num_layers)
        whole = chances.random() < 0.2
        one = Candidate(
            peer_id=peer,
            layers=Span(0, num_layers) if whole else Span(start, end),
            numerics="n",
            seconds_per_layer=chances.choice([chances.random(), 0.01 * chances.random(), 0.001]),
            entry_seconds=chances.choice([0.0, 0.3 * chances.random(), LAST_RESORT_SECONDS]),
            round_trip_seconds=most_away * chances.random(),
            next_hop_seconds={
                other: chances.choice([0.01, 0.3, 1.0]) * chances.random()
                for other in peers
                if chances.random() < linked
            },
            free_tokens=chances.randint(0, 3),
        )
        candidates.append(one)
        if chances.random() < 0.25:
            first = chances.randrange(one.layers.start, one.layers.end)
            held = Span(first, chances.randint(first + 1, one.layers.end))
            candidates.append(replace(one, layers=held, entry_seconds=0.0, held=True))
    chances.shuffle(candidates)
    ends = [*peers, CLIENT]
    broken = {(chances.choice(ends), chances.choice(ends)) for _ in range(chances.choice([0, 0, 1, 3]))}
    broken = {link for link in broken if link[0] != link[1]}
    return SmallSwarm(num_layers, candidates, broken, chances.choice([1.0, 1.0, 0.3, 1 / 32]))
