"""The DHT's nodes as Kademlia has them, without a network: who keeps a key, and whom a lookup asks.

Ids have 64 bits. A node knows up to BUCKET_SIZE others, drawn once, of each range of ids: of the half where
it isn't, of the quarter beside it, and so on. So a node that shares c bits with a key knows nodes that share
more.
Source: P. Maymounkov and D. Mazieres, "Kademlia", IPTPS 2002.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2pinfer.swarm.kademlia.node import BUCKET_SIZE, REPLICAS
from scripts.fleet.discovery.population import Numbers

Nodes = NDArray[np.int64]
_BITS = 64
_NEAR = 40  # ids on both sides among which the XOR-nearest are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What a lookup took: nodes asked, and how many answers the last one had to wait for."""

    asked: int
    hops: int


class Ring:
    """Nodes by number, in the order of their ids."""

    def __init__(self, ids: Numbers) -> None:
        self.ids = np.sort(ids)

    @classmethod
    def of(cls, nodes: int, seed: int) -> Ring:
        """So many nodes, with ids that are drawn."""
        return cls(keys_of(nodes, np.random.default_rng((seed, 64))))

    def holders(self, keys: Numbers, count: int = REPLICAS) -> Nodes:
        """The nodes that keep each key: an array [keys, count]."""
        count = min(count, len(self.ids))
        if not count:
            return np.zeros((len(keys), 0), dtype=np.int64)
        middle = np.searchsorted(self.ids, keys)[:, None]
        window = np.clip(middle + np.arange(-_NEAR, _NEAR), 0, len(self.ids) - 1)
        distances = self.ids[window] ^ keys[:, None]
        # At an end of the ring the window has the same node several times.
        distances[:, 1:][window[:, 1:] == window[:, :-1]] = np.uint64(2**64 - 1)
        order = np.argpartition(distances, count - 1, axis=1)[:, :count]
        found: Nodes = np.take_along_axis(window, order, axis=1).astype(np.int64)
        return found

    def range_of(self, key: int, bits: int) -> tuple[int, int]:
        """The nodes, first and end, that share `bits` with a key."""
        if bits >= _BITS:
            bits = _BITS - 1
        low = key >> (_BITS - bits) << (_BITS - bits) if bits else 0
        high = low + (1 << (_BITS - bits)) - 1
        first = int(np.searchsorted(self.ids, np.uint64(low)))
        return first, int(np.searchsorted(self.ids, np.uint64(high), "right"))

    def known(self, node: int, key: int) -> list[int]:
        """The nodes that `node` tells somebody who looks for a key: BUCKET_SIZE, or all there are."""
        bits = _shared_bits(int(self.ids[node]), key)
        first, end = self.range_of(key, bits + 1)
        if end - first <= BUCKET_SIZE:
            near = list(range(first, end))
            wide_first, wide_end = self.range_of(key, bits)
            if len(near) < BUCKET_SIZE and wide_end - wide_first > len(near):
                near += _drawn(node, bits + _BITS, wide_first, wide_end).tolist()
            return near
        told: list[int] = _drawn(node, bits, first, end).tolist()
        return told

    def lookup(self, start: int, key: int) -> Lookup:
        """Ask the nearest that is known, until the REPLICAS nearest have answered."""
        hop = dict.fromkeys([start, *self.known(start, key)], 1)
        distance = {node: int(self.ids[node]) ^ key for node in hop}
        asked: set[int] = {start}
        longest = 0
        while True:
            nearest = sorted(distance, key=distance.__getitem__)[:REPLICAS]
            node = next((one for one in nearest if one not in asked), None)
            if node is None:
                return Lookup(asked=len(asked) - 1, hops=longest)
            asked.add(node)
            longest = max(longest, hop[node])
            for told in self.known(node, key):
                if told not in hop:
                    hop[told] = hop[node] + 1
                    distance[told] = int(self.ids[told]) ^ key

    def steps(self, nodes: Nodes, key: int) -> Nodes:
        """For each of many nodes the nearest to a key that it knows; itself where it knows no nearer one."""
        own = self.ids[nodes] ^ np.uint64(key)
        bits = _BITS - np.ceil(np.log2(own.astype(np.float64) + 1)).astype(np.int64)
        found = nodes.copy()
        for shared in np.unique(bits):
            first, end = self.range_of(key, int(shared) + 1)
            if first == end:
                continue
            here = np.flatnonzero(bits == shared)
            told = _drawn_by_many(nodes[here], int(shared), first, end)
            distances = self.ids[told] ^ np.uint64(key)
            best = np.take_along_axis(told, distances.argmin(axis=1)[:, None], axis=1)[:, 0]
            nearer = (self.ids[best] ^ np.uint64(key)) < own[here]
            found[here[nearer]] = best[nearer]
        return found


def keys_of(count: int, chance: np.random.Generator) -> Numbers:
    """Ids or keys, drawn as a hash would."""
    return chance.integers(0, 1 << 63, size=count, dtype=np.uint64) << np.uint64(1)


def _shared_bits(one: int, other: int) -> int:
    return _BITS - (one ^ other).bit_length()


def _drawn(node: int, bits: int, first: int, end: int) -> Nodes:
    found: Nodes = _drawn_by_many(np.array([node]), bits, first, end)[0]
    return found


def _drawn_by_many(nodes: Nodes, bits: int, first: int, end: int) -> Nodes:
    """BUCKET_SIZE nodes of a range that each of `nodes` knows: the same whenever it is asked."""
    slots = np.arange(BUCKET_SIZE, dtype=np.uint64)
    seeds: Numbers = nodes.astype(np.uint64)[:, None] * np.uint64(BUCKET_SIZE) + slots
    salted: Numbers = _mixed(seeds) + np.uint64(bits)
    mixed = _mixed(salted)
    found: Nodes = (first + (mixed % np.uint64(end - first))).astype(np.int64)
    return found


def _mixed(numbers: Numbers) -> Numbers:
    """Scatter numbers: splitmix64's finalizer."""
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    scattered: Numbers = numbers ^ numbers >> np.uint64(31)
    return scattered
