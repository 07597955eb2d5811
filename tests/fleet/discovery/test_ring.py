"""The simulated DHT: lookups end at the nodes that keep a key, in few hops."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.fleet.discovery.ring import Ring


@pytest.mark.parametrize("nodes", [1, 3, 100, 5000])
def test_holders_are_the_nearest_nodes(nodes: int):
    ring = Ring.of(nodes, seed=1)
    keys = np.random.default_rng(2).integers(0, 2**63, size=50, dtype=np.uint64)

    for key, holders in zip(keys, ring.holders(keys), strict=True):
        nearest = np.argsort(ring.ids ^ key)[:5]
        assert sorted(holders) == sorted(nearest)


@pytest.mark.parametrize("nodes", [1, 3, 100, 5000])
def test_a_lookup_ends_and_hops_grow_slowly(nodes: int):
    ring = Ring.of(nodes, seed=1)
    lookups = [ring.lookup(number % nodes, number * 0x9E3779B97F4A7C15 % 2**64) for number in range(30)]

    assert max(one.hops for one in lookups) <= 5
    assert max(one.asked for one in lookups) <= 30


def test_many_walk_as_one_does():
    ring = Ring.of(5000, seed=1)
    key = 0x1234567890ABCDEF
    after = ring.steps(np.arange(200), key)

    for node in range(200):
        known = [*ring.known(node, key), node]
        assert int(ring.ids[after[node]]) ^ key <= min(int(ring.ids[one]) ^ key for one in known[:20])
