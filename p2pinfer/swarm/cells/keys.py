"""The DHT's keys of cells. Each cell has two, kept by different nodes, and both are always asked.

A record is signed for its tree and its place. Both name all its keys, so one signature serves at every depth,
and a node takes a record only under one of these keys.
"""

from __future__ import annotations

from functools import lru_cache

from p2pinfer.swarm.cells.place import DEPTH, cell_of
from p2pinfer.swarm.records.signed import dht_key

SALTS = 2
MODELS = "models"
"""The tree of all models. Every other tree has a model's manifest hash for a name."""


def keys_of_cell(tree: str, cell: str) -> tuple[bytes, ...]:
    """The keys under which a cell's records are kept, one for each salt."""
    return tuple(dht_key("cell", tree, cell, str(salt)) for salt in range(SALTS))


@lru_cache(maxsize=4096)  # a node checks the same records every few seconds
def keys_of(tree: str, place: str) -> frozenset[bytes]:
    """All keys under which a record of this place may be kept."""
    return frozenset(key for depth in range(DEPTH + 1) for key in keys_of_cell(tree, cell_of(place, depth)))
