"""Many clients at equal servers, on a virtual clock: how evenly do their own decisions share the work out?

Every client decides alone, by what servers have told it: their free cache, and the steps that wait, both as
old as its last ping. The clients here are the product's decisions without a network: a session takes its part
of the cache of its hops, and has a step at one of them at a time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

from p2pinfer.client.route.candidate import Candidate
from p2pinfer.client.route.routing import find_route
from p2pinfer.types import PeerId, Span

_FRESH_PING_SECONDS = 15.0
_OPENING_SECONDS = 0.3
"""From a client's pings until others that ping see its session."""
_SECONDS_PER_LAYER = 0.001
_ROUND_TRIPS_SECONDS = (0.010, 0.0105)  # as equal as ways to machines of one house are
_CACHE_TOKENS = 65_536
_SESSION_TOKENS = 1_024
_TEXT_SECONDS = (5.0, 15.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """So many clients, who come within `arriving_seconds` and have so many texts each."""

    clients: int
    texts: int
    arriving_seconds: float


@dataclass(slots=True, eq=False)
class _Server:
    peer_id: PeerId
    layers: Span
    sessions: int = 0
    served_seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Client:
    texts_left: int
    pinged_at: float = float("-inf")
    view: Sequence[Candidate] = ()


def busiest_to_mean(spans: Sequence[Span], crowd: Crowd, chances: random.Random) -> float:
    """The load of the busiest server, as a multiple of the mean of those with the same layers.

    `spans` has one entry for each server; the load is the time that sessions spent there.
    """
    street = _Street(spans, chances)
    for _ in range(crowd.clients):
        arrive = partial(street.begin, _Client(crowd.texts))
        street.at(chances.uniform(0, crowd.arriving_seconds), arrive)
    street.run()
    return street.busiest_to_mean()


class _Street:
    """The servers, and what happens next."""

    def __init__(self, spans: Sequence[Span], chances: random.Random) -> None:
        self._servers = [_Server(PeerId(f"server-{number}"), span) for number, span in enumerate(spans)]
        self._by_name = {server.peer_id: server for server in self._servers}
        self._num_layers = max(span.end for span in spans)
        self._stages = len(set(spans))
        self._chances = chances
        self._now = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (seconds, next(self._order), act))

    def run(self) -> None:
        while self._events:
            self._now, _, act = heapq.heappop(self._events)
            act()

    def begin(self, client: _Client) -> None:
        """Let the client choose its servers for the next text."""
        if not client.texts_left:
            return
        client.texts_left -= 1
        if self._now - client.pinged_at >= _FRESH_PING_SECONDS:
            client.pinged_at, client.view = self._now, [self._seen(server) for server in self._servers]
        route = find_route(client.view, self._num_layers, chance=self._chances.random)
        hops = [self._by_name[hop.peer_id] for hop in route]
        self.at(self._now + _OPENING_SECONDS, partial(self._open, client, hops))

    def _open(self, client: _Client, hops: Sequence[_Server]) -> None:
        seconds = self._chances.uniform(*_TEXT_SECONDS)
        for server in hops:
            server.sessions += 1
            server.served_seconds += seconds
        self.at(self._now + seconds, partial(self._end, client, hops))

    def _end(self, client: _Client, hops: Sequence[_Server]) -> None:
        for server in hops:
            server.sessions -= 1
        self.begin(client)

    def _seen(self, server: _Server) -> Candidate:
        """The server as its answer to a ping shows it. Half of the steps at a hop wait for others."""
        waiting = sum(self._chances.random() < 0.5 / self._stages for _ in range(server.sessions))
        return Candidate(
            peer_id=server.peer_id,
            layers=server.layers,
            numerics="n",
            seconds_per_layer=_SECONDS_PER_LAYER,
            entry_seconds=waiting * _SECONDS_PER_LAYER * len(server.layers),
            round_trip_seconds=self._chances.uniform(*_ROUND_TRIPS_SECONDS),
            free_tokens=_CACHE_TOKENS - _SESSION_TOKENS * server.sessions,
        )

    def busiest_to_mean(self) -> float:
        ratios = []
        for server in self._servers:
            alike = [other.served_seconds for other in self._servers if other.layers == server.layers]
            ratios.append(server.served_seconds * len(alike) / sum(alike))
        return max(ratios)
