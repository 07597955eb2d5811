"""The machines of a fleet: unequal, each for one model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.server.placement.choice import Sizes
from p2pinfer.types import PeerId
from scripts.fleet.stays import Kind, Stay, stays_of

FASTEST_TIMES = 8.0
"""The fastest machine's speed, in that of the slowest."""
_SLOWEST_RATE = 500.0  # layer-tokens per second
_LEAST_PART, _MOST_PART = 0.1, 0.4
"""Of a model's layers that a machine has memory for, usually."""
_MOST_TIMES_USUAL = 1.4
_HOME_MACHINES = 0.1
_MBIT_SPREAD = 4.0  # the fastest line, in the slowest


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One that the fleet serves."""

    hash: str
    num_layers: int
    layer_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A car, or a computer at home."""

    peer_id: PeerId
    model: Model
    sizes: Sizes
    layer_rate: float  # layer-tokens per second
    bytes_per_second: float  # of its line
    stays: Sequence[Stay]


def fleet_of(
    number: int, models: Sequence[Model], *, zones: int, mbit: float, ends_at: float, seed: int
) -> list[Machine]:
    """Return as many machines; every one has stays until `ends_at`. Deterministic."""
    chance = random.Random(f"fleet {seed}")
    machines = []
    for index in range(number):
        model = models[index % len(models)]
        usual = max(1, round(model.num_layers * chance.uniform(_LEAST_PART, _MOST_PART)))
        kind = Kind.HOME if chance.random() < _HOME_MACHINES else Kind.CAR
        machines.append(
            Machine(
                peer_id=PeerId(f"peer-{seed}-{index:05}"),
                model=model,
                sizes=Sizes(
                    least=-(-usual // 2),
                    usual=usual,
                    most=min(model.num_layers, int(usual * _MOST_TIMES_USUAL)),
                ),
                layer_rate=_SLOWEST_RATE * FASTEST_TIMES ** chance.random(),
                bytes_per_second=mbit * 125_000.0 * _MBIT_SPREAD ** (chance.random() - 0.5),
                stays=stays_of(kind, chance.randrange(zones), ends_at, chance),
            )
        )
    return machines
