"""The DHT's keys of cells. Each cell has two, kept by different nodes, and both are always asked.

A record says its tree and its place. They name all its keys, so one signature serves at every depth, and a
node takes a record only under one of these keys.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from p2pinfer.swarm.cells.place import DEPTH, ROOT, cell_of

KEY_BYTES = 20  # the width of hivemind's Kademlia space
SALTS = 2
MODELS = "models"
"""The tree of all models. Every other tree has a model's manifest hash for a name."""


def keys_of_cell(tree: str, cell: str) -> tuple[bytes, ...]:
    """The keys under which a cell's records are kept, one for each salt."""
    return tuple(_key("cell", tree, cell, str(salt)) for salt in range(SALTS))


def peer_key(peer_id: str) -> bytes:
    """Where the lines of one peer are, wherever it is: a copy of its key would put its own there."""
    return _key("peer", peer_id)


def root_key(tree: str) -> bytes:
    """The first key of a tree's largest cell, where all records of a small swarm are."""
    return keys_of_cell(tree, ROOT)[0]


@lru_cache(maxsize=4096)  # a node checks the same records every few seconds
def keys_of(tree: str, place: str) -> frozenset[bytes]:
    """All keys under which a record of this place may be kept."""
    return frozenset(key for depth in range(DEPTH + 1) for key in keys_of_cell(tree, cell_of(place, depth)))


def _key(*words: str) -> bytes:
    name = "\0".join(("p2pinfer", "2", *words))
    return hashlib.sha256(name.encode()).digest()[:KEY_BYTES]
