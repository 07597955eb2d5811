"""Servers start at once, and nobody tells them which layers to take: when and how they have spread out."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.shared.hosts import LOOPBACK, Hosts
from scripts.benchmarks.shared.report import say
from scripts.benchmarks.swarm.members import READY_SECONDS, Members
from scripts.benchmarks.swarm.spread import all_seen_at, fewest, most, served_at, settled_at
from scripts.benchmarks.swarm.watch import Watch


def measure_burst(store: LayerStore, number: int, *, phantoms: int = 0) -> dict[str, Any]:
    """Start so many servers, beside so many that don't exist, and wait until all are ready.

    Seconds count from when the last one's claim was seen, or from when its process was started. What was done
    before took 0 s. None: it was never seen. Raises SwarmError.
    """
    words = f" and {phantoms} that don't exist" if phantoms else ""
    say(f"starting {number} servers{words}")
    num_layers = store.manifest.num_layers
    with ExitStack() as stack:
        hosts = stack.enter_context(Hosts(LOOPBACK, seed=number))
        swarm = stack.enter_context(LocalSwarm(ready_timeout_seconds=READY_SECONDS))
        members = Members(swarm, hosts, store)
        members.launch(1)
        watch = stack.enter_context(Watch(swarm.initial_peers, store.manifest, phantoms=phantoms))
        members.launch(number - 1)
        members.wait_ready()
        spans, peers = members.layers(), members.peers()
        moves = members.moves()
    claimed = all_seen_at(watch.sightings, peers)
    settled = settled_at(watch.sightings, peers, num_layers, claimed or 0.0)
    served = served_at(watch.sightings, peers, num_layers, claimed or 0.0)

    def since(begin: float | None, end: float | None) -> float | None:
        return None if begin is None or end is None else end - begin

    found = {
        "servers": number,
        "phantoms": phantoms,
        "claims_seconds": since(members.launched_at, claimed),
        "settled_seconds": since(claimed, settled),
        "served_seconds": since(claimed, served),
        "served_since_start_seconds": since(members.launched_at, served),
        "fewest": fewest(spans, num_layers),
        "most": most(spans, num_layers),
        "layers": list(map(str, spans)),
        "moves": moves,
    }
    say(f"  a layer has {found['fewest']} to {found['most']} servers")
    return found
