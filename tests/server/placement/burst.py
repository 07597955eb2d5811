"""Servers that join within a few seconds of each other, on a virtual clock. No sockets.

Each of them reads, chooses, announces and looks again as a real one does. A record that one announces is seen
by each of the others after a time of its own.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from p2pinfer.backoff import jittered
from p2pinfer.server.placement.choice import Newcomer, Sizes, choose_span, rates_of
from p2pinfer.server.placement.settling import LOOK_SECONDS, Claim, Looks, settled
from p2pinfer.swarm.census.stretches import sweep
from p2pinfer.types import PeerId, Span

MODEL = "ab" * 32


@dataclass
class Car:
    """One server."""

    newcomer: Newcomer
    starts_at: float
    looks: Looks = field(default_factory=Looks)
    versions: list[tuple[float, Span, bool]] = field(default_factory=list)  # since when, layers, may it move

    @property
    def ready_at(self) -> float:
        return self.versions[-1][0]

    @property
    def layers(self) -> Span:
        return self.versions[-1][1]


class Burst:
    """What happens when these servers start."""

    def __init__(self, cars: Sequence[Car], num_layers: int, latest_seconds: float, chance: random.Random):
        self.cars, self.num_layers, self._chance = cars, num_layers, chance
        self._delays: dict[tuple[int, int, int], float] = {}
        self._latest_seconds = latest_seconds

    def run(self) -> None:
        queue = [(car.starts_at, index) for index, car in enumerate(self.cars)]
        heapq.heapify(queue)
        while queue:
            now, index = heapq.heappop(queue)
            if self._acts(index, now):
                heapq.heappush(queue, (now + jittered(LOOK_SECONDS, self._chance.random), index))

    @property
    def replicas(self) -> list[int]:
        return [sum(layer in car.layers for car in self.cars) for layer in range(self.num_layers)]

    @property
    def longest_wait(self) -> float:
        return max(car.ready_at - car.starts_at for car in self.cars)

    def _acts(self, index: int, now: float) -> bool:
        """Choose, or look; False if that was the last time."""
        car = self.cars[index]
        firm, claims = [], []
        for other, found in enumerate(self.cars):
            if other != index and (seen := self._seen(other, index, now)) is not None:
                layers, movable = seen
                if movable:
                    claims.append(_claim(found, layers))
                else:
                    firm.append((layers, found.newcomer.layer_rate / len(layers)))
        rates = rates_of(sweep(firm, self.num_layers))
        if not car.versions:
            for claim in claims:
                rates = rates + np.array(
                    [claim.layer_rate / len(claim.layers) * (i in claim.layers) for i in range(len(rates))]
                )
            car.versions.append((now, choose_span(rates, car.newcomer), True))
            return True
        layers = settled(rates, claims, _claim(car, car.layers), car.newcomer)
        enough = car.looks.are_enough(claims, moved=layers != car.layers)
        if enough or layers != car.layers:
            car.versions.append((now, layers, not enough))
        return not enough

    def _seen(self, other: int, reader: int, now: float) -> tuple[Span, bool] | None:
        seen = None
        for version, (since, layers, movable) in enumerate(self.cars[other].versions):
            delay = self._delays.setdefault(
                (other, reader, version), self._chance.uniform(0.0, self._latest_seconds)
            )
            if since + delay <= now:
                seen = layers, movable
        return seen


def _claim(car: Car, layers: Span) -> Claim:
    return Claim(
        peer_id=car.newcomer.peer_id,
        model=MODEL,
        layers=layers,
        layer_rate=car.newcomer.layer_rate,
        announced_at=0.0,
    )


def burst(
    number: int,
    *,
    seed: int,
    num_layers: int = 30,
    sizes: Sizes | None = None,
    within_seconds: float = 3.0,
    latest_seconds: float = 0.4,
) -> Burst:
    """`number` equal servers that start within so many seconds, after it has run."""
    chance = random.Random(seed)
    cars = [
        Car(
            Newcomer(
                peer_id=PeerId(f"{seed}-{index}"),
                model=MODEL,
                sizes=sizes or Sizes.exactly(10),
                layer_rate=1000.0,
            ),
            starts_at=chance.uniform(0.0, within_seconds),
        )
        for index in range(number)
    ]
    happening = Burst(cars, num_layers, latest_seconds, chance)
    happening.run()
    return happening
