"""A client that knows nobody yet, among servers of which some do not exist: whom it pings, what it finds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from p2pinfer.client.route.candidate import Candidate
from p2pinfer.client.route.routing import cheapest_seconds
from p2pinfer.client.route.whom_to_ping import Prospect, Standing, whom_instead, whom_to_ping
from p2pinfer.types import PeerId
from scripts.benchmarks.routing.swarms import large_swarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search has found, and what it cost."""

    seconds: float  # per token; infinite if there is no route
    pings: int
    rounds: int
    most_at_once: int


class Newcomer:
    """Its searches, one after the other. Of `servers` all answer, of `liars` none."""

    def __init__(
        self,
        servers: Sequence[Candidate],
        liars: Sequence[Candidate],
        num_layers: int,
        chances: random.Random,
    ) -> None:
        self._everyone = [*servers, *liars]
        self._liars = {one.peer_id for one in liars}
        self._num_layers = num_layers
        self._chance = chances.random
        self._standings = {one.peer_id: Standing.NEW for one in self._everyone}

    def search(self) -> Found:
        """Ping, wait until nobody is late any more, and find the best route."""
        prospects = [self._prospect(one) for one in self._everyone]
        asked: list[bool | None] = [None] * len(prospects)
        rounds, most_at_once = 0, 0
        pinged = whom_to_ping(prospects, self._num_layers, self._chance)
        while pinged:
            rounds, most_at_once = rounds + 1, max(most_at_once, len(pinged))
            for place in pinged:
                peer_id = self._everyone[place].peer_id
                asked[place] = peer_id not in self._liars
                self._standings[peer_id] = Standing.ANSWERED if asked[place] else Standing.SILENT
            pinged = whom_instead(prospects, asked, self._num_layers, self._chance)
        there = [one for one, answered in zip(self._everyone, asked, strict=True) if answered]
        seconds = cheapest_seconds(there, self._num_layers)
        return Found(
            seconds=float("inf") if seconds is None else seconds,
            pings=sum(answered is not None for answered in asked),
            rounds=rounds,
            most_at_once=most_at_once,
        )

    def _prospect(self, one: Candidate) -> Prospect:
        """The way to a server is known once it has answered."""
        standing = self._standings[one.peer_id]
        known = one if standing is Standing.ANSWERED else replace(one, round_trip_seconds=0.0)
        return Prospect(candidate=known, standing=standing)


def liars(count: int, num_layers: int, chances: random.Random) -> list[Candidate]:
    """Records of servers that don't exist, and would be perfect."""
    return [
        replace(one, peer_id=PeerId(f"liar-{one.peer_id}"), seconds_per_layer=1e-6, entry_seconds=0.0)
        for one in large_swarm(count, num_layers, 0, chances)
    ]
