"""Bad days of an honest swarm: a crowd comes in a minute, a region goes in a moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2pinfer.swarm.cells.keys import SALTS
from scripts.fleet.discovery.growth import HEARTBEAT_SECONDS
from scripts.fleet.discovery.population import ID_BITS, Population, cells_at, population_of, together
from scripts.fleet.discovery.readers import visits
from scripts.fleet.discovery.ring import Ring, keys_of
from scripts.fleet.discovery.tree import settled

_CITY_DEPTH = 7  # cells of 10 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Servers that come to one town within a minute."""

    before: int  # servers that were there
    arrivals: int
    offers_per_second: float  # to the key that most of them find first; each of its nodes gets them
    settled_seconds: float  # until all are in cells that aren't crowded, after the last has come
    records_of_key: int  # the most, afterwards


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The largest region with less than half of all servers goes: they, and their nodes of the DHT."""

    share: float  # of all servers
    keys_without_keeper: float  # the share of the keys of all cells that are left
    cells_without_keeper: float  # under all of their keys
    reads: float  # of a reader that comes back with its memory


def burst(servers: int, arrivals: int, seed: int) -> Burst:
    """Let them come where fewest are, so that all find the same key first."""
    population = population_of(servers, seed)
    chance = np.random.default_rng((seed, arrivals))
    cities, counts = np.unique(cells_at(population.places, _CITY_DEPTH), return_counts=True)
    city = cities[counts.argmin()]
    ids = chance.integers(0, 1 << ID_BITS, size=arrivals, dtype=np.uint64)
    crowd = Population(
        places=city << np.uint64(ID_BITS) | ids, ranks=chance.random(arrivals), came=chance.random(arrivals)
    )
    both, came = together(population, crowd)
    before, after = settled(population), settled(both)
    # They first find the homes of those who are there: the server of the nearest place has the same.
    beside = np.searchsorted(population.places, after.population.places[came]).clip(max=servers - 1)
    first = before.homes[beside].astype(np.int64)
    deeper = (after.homes[came] - first).clip(min=0)
    _, offers = np.unique(
        np.stack(
            [first.astype(np.uint64), after.population.places[came] >> (32 - 2 * first).astype(np.uint64)]
        ),
        axis=1,
        return_counts=True,
    )
    return Burst(
        before=int(counts.min()),
        arrivals=arrivals,
        offers_per_second=float(offers.max()) / 60,
        # Who finds its home crowded goes on through the smaller cells at once.
        settled_seconds=HEARTBEAT_SECONDS * float(deeper.max() > 0),
        records_of_key=max(int(cells.records.max(initial=0)) for cells in after.cells),
    )


def loss(servers: int, seed: int) -> Loss:
    """Take the region away. Keepers of keys are all over the world."""
    population = population_of(servers, seed)
    chance = np.random.default_rng((seed, 4))
    gone = _region(population)
    left = Population(
        places=population.places[~gone], ranks=population.ranks[~gone], came=population.came[~gone]
    )
    after = settled(left)
    ring = Ring.of(servers, seed)
    is_gone_node = chance.permutation(gone)
    cells = sum(len(one.cells) for one in after.cells)
    is_lost = np.stack([is_gone_node[ring.holders(keys_of(cells, chance))].all(axis=1) for _ in range(SALTS)])
    _, again = visits(after, 200, chance)
    return Loss(
        share=float(gone.mean()),
        keys_without_keeper=float(is_lost.mean()),
        cells_without_keeper=float(is_lost.all(axis=0).mean()),
        reads=float(np.mean([len(one.cells) for one in again])),
    )


def _region(population: Population) -> NDArray[np.bool_]:
    """Which servers are in the most populous cell of the first depth where none has half of all."""
    for depth in range(1, _CITY_DEPTH):
        cells = cells_at(population.places, depth)
        found, counts = np.unique(cells, return_counts=True)
        if 2 * counts.max() < len(population):
            break
    region: NDArray[np.bool_] = cells == found[counts.argmax()]
    return region
