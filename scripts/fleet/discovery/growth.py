"""One line of the growth table: what a swarm of some size costs a key, a node, a server, a client."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2pinfer.swarm.cells.keys import SALTS
from p2pinfer.swarm.discovery.announcing import TRY_AGAIN_SECONDS
from p2pinfer.swarm.kademlia.node import KEEPERS_SECONDS, REPLICAS
from p2pinfer.swarm.kademlia.popular import FRESH_SECONDS
from p2pinfer.swarm.membership.acquaintances import MAX_ANCHORS
from scripts.fleet.discovery.population import population_of
from scripts.fleet.discovery.readers import READ_AGAIN_SECONDS, questions_at_nodes, visits
from scripts.fleet.discovery.ring import Ring, keys_of
from scripts.fleet.discovery.tree import settled

HEARTBEAT_SECONDS = 17.0
RECORD_BYTES = 1000
_READERS = 1000
_LOOKUPS = 300
_ROOTS = 5  # the busiest node is looked for with so many keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """All of one tree. Messages are questions that somebody answers; bytes are those of records."""

    servers: int
    clients: int
    cells: int  # that are somebody's home
    depth: int  # of the deepest home
    records_of_key: int  # the most
    offers_of_key: int  # servers that ask for a place there within TRY_AGAIN_SECONDS, the most
    records_of_node_mean: float
    records_of_node_most: int
    records_of_read: float
    records_of_read_most: int
    keys_of_server: float  # cells, times the salts
    keys_of_server_most: int
    join_messages: float
    hourly_messages: float  # of a server
    first_reads: float
    reads_again: float
    hops: float
    first_bytes: float
    hourly_bytes: float  # of a client
    busiest_per_minute: float  # questions at one node for one key, where nodes on the path answer
    without_per_minute: float  # where only those that keep the key answer


def growth_of(servers: int, clients: int, seed: int) -> Growth:
    """Let a swarm of this size settle, and look at it."""
    chance = np.random.default_rng((seed, servers))
    tree = settled(population_of(servers, seed))
    ring = Ring.of(servers, seed)
    records = np.concatenate([cells.records for cells in tree.cells])
    at_node = np.zeros(servers, dtype=np.int64)
    for _ in range(SALTS):
        holders = ring.holders(keys_of(len(records), chance))
        np.add.at(at_node, holders, records[:, None])
    climbs = (tree.homes - tree.tops + 1).astype(np.int64)
    in_vain = float((tree.tops > 0).mean()) * SALTS  # keys of the cell above, which has no place
    first, again = visits(tree, _READERS, chance)
    lookups = [ring.lookup(int(chance.integers(servers)), int(key)) for key in keys_of(_LOOKUPS, chance)]
    asked = float(np.mean([one.asked for one in lookups]))
    first_reads = float(np.mean([len(one.cells) for one in first]))
    keys = float(climbs.mean()) * SALTS
    offers = keys * REPLICAS + float(climbs.mean()) * MAX_ANCHORS
    hour = 3600.0
    reads = round(clients * FRESH_SECONDS / READ_AGAIN_SECONDS)
    roots = [int(key) for key in keys_of(_ROOTS, chance)]
    known = [int(questions_at_nodes(ring, key, reads, is_known=True, seed=seed).max()) for key in roots]
    without = int(questions_at_nodes(ring, roots[0], reads, is_known=False, seed=seed).max())
    return Growth(
        servers=servers,
        clients=clients,
        cells=len(np.unique(_home_cells(tree.population.places, tree.homes))),
        depth=int(tree.homes.max()),
        records_of_key=int(records.max()),
        offers_of_key=max(int(cells.offers.max(initial=0)) for cells in tree.cells),
        records_of_node_mean=float(at_node.mean()),
        records_of_node_most=int(at_node.max()),
        records_of_read=float(np.mean([one.records for one in first])),
        records_of_read_most=max(one.records for one in first),
        keys_of_server=keys,
        keys_of_server_most=int(climbs.max()) * SALTS,
        join_messages=first_reads * SALTS * asked + (keys + in_vain) * asked + offers + in_vain * REPLICAS,
        hourly_messages=(
            offers * hour / HEARTBEAT_SECONDS
            + keys * asked * hour / KEEPERS_SECONDS
            + in_vain * (asked + REPLICAS) * hour / TRY_AGAIN_SECONDS
        ),
        first_reads=first_reads,
        reads_again=float(np.mean([len(one.cells) for one in again])),
        hops=float(np.mean([one.hops for one in lookups])),
        first_bytes=_bytes([one.records for one in first]),
        hourly_bytes=_bytes([one.records for one in again]) * 3600 / READ_AGAIN_SECONDS,
        busiest_per_minute=float(np.mean(known)) * 60 / FRESH_SECONDS,
        without_per_minute=without * 60 / FRESH_SECONDS,
    )


def _bytes(records: list[int]) -> float:
    return float(np.mean(records)) * SALTS * RECORD_BYTES


def _home_cells(places: np.ndarray, homes: np.ndarray) -> np.ndarray:
    """A number for the home of each server; different for different depths."""
    shift = (32 - 2 * homes).astype(np.uint64)
    return (places >> shift << shift) << np.uint64(5) | homes.astype(np.uint64)
