"""Many clients share twelve equal servers, against as many for each server on a route that has no rival.

Two swarms stand side by side, and take turns: one of three servers, which make one route, and one of twelve,
four for each third of the layers. The clients of one generate while those of the other wait; what waits costs
next to nothing. Four times as many clients use four times as many servers. So, if the clients share the
servers evenly, a server has as many streams in both, and batches of the same size. What is missing at the
twelve is lost to contention: to routes that change, to clients that disturb each other, to servers that are
idle while others are full. The machine's cores limit both, and twelve processes on two cores have no
advantage over three.

A client draws a route for each text. Drawn once by each of 64, the busiest of twelve servers has by chance a
third more than an average one; over some texts of each this evens out. So texts are short, and all rounds
count together.

All clients on the one route make batches that are four times as large, and cost less for each token. That is
measured as well, for comparison.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.chaos.run import encoded, undisturbed
from scripts.benchmarks.shared.host_process import HostProcess, Said
from scripts.benchmarks.shared.report import say

THIRDS = 3
REPLICAS = 4
PROCESSES = 4
"""That the clients of a swarm live in: as many for both, because each has one interpreter lock."""
ALONE, SHARED, CROWDED = "one route", "twelve servers", "one route, all clients"

_PROGRAM = "scripts.benchmarks.swarm.crowd"
_CACHE_TOKENS = 16_384
_JOIN_SECONDS = 300.0
_LATE_SECONDS = 60.0
_START_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """How many clients, and how long they work."""

    clients: int = 64
    rounds: int = 3
    warm_up_seconds: float = 10.0
    seconds: float = 40.0  # of each round, after the warm-up
    tokens: int = 32  # most new ones of a text: a client chooses a route for each
    seed: int = 1
    logs: Path | None = None


class Crowd:
    """Some clients of one swarm, in several processes."""

    def __init__(
        self,
        stack: ExitStack,
        name: str,
        number: int,
        store: LayerStore,
        initial_peers: Sequence[str],
        prompts: Sequence[Sequence[int]],
        plan: LoadPlan,
    ) -> None:
        """Start them. Raises ChildError if one can't join."""
        self._processes = [
            stack.enter_context(
                HostProcess(
                    _PROGRAM,
                    {
                        "store": str(store.folder),
                        "initial_peers": list(initial_peers),
                        "prompts": prompts,
                        "tokens": plan.tokens,
                        "clients": number // PROCESSES,
                        "seed": f"{plan.seed} {name} {index}",
                    },
                    log=None if plan.logs is None else plan.logs / f"{name.replace(' ', '-')}-{index}.log",
                )
            )
            for index in range(PROCESSES)
        ]
        for process in self._processes:
            process.hear_next(_JOIN_SECONDS)

    def begin(self, begin: float, end: float) -> None:
        """Let all clients generate until the end (time.monotonic)."""
        for process in self._processes:
            process.tell(begin=begin, end=end)

    def done(self, end: float) -> list[Said]:
        """What each client did."""
        waits = end - time.monotonic() + _LATE_SECONDS
        return [said for process in self._processes for said in process.hear_next(waits)["clients"]]


def one_round(plan: LoadPlan, *crowds: Crowd) -> list[Said]:
    """Let these work at the same time; what each client did."""
    begin = time.monotonic() + plan.warm_up_seconds
    end = begin + plan.seconds
    for crowd in crowds:
        crowd.begin(begin, end)
    clients = [client for crowd in crowds for client in crowd.done(end)]
    say(
        f"  {len(clients)} clients: {sum(client['tokens'] for client in clients) / plan.seconds:.1f} tokens/s"
    )
    return clients


def measure_load(store: LayerStore, plan: LoadPlan) -> dict[str, Any]:
    """What the clients did in each round, by crowd. Raises P2PInferError if it can't run."""
    prompts = encoded(store)
    if plan.logs is not None:
        plan.logs.mkdir(parents=True, exist_ok=True)
    say("generating every text in one process, undisturbed")
    expected = undisturbed(store, prompts, max(map(len, prompts)) + plan.tokens)
    thirds = split_layers(store.manifest.num_layers, THIRDS)
    few = plan.clients // REPLICAS
    with ExitStack() as stack:
        route, servers = (
            stack.enter_context(LocalSwarm(ready_timeout_seconds=_START_SECONDS)) for _ in range(2)
        )
        say(f"starting {THIRDS} servers, and {THIRDS * REPLICAS}")
        arguments = ("--max-cache-tokens", str(_CACHE_TOKENS))
        for swarm, spans in ((route, thirds), (servers, thirds * REPLICAS)):
            swarm.start(store.folder, spans, threads=1, server_arguments=arguments)
        crowds = {}
        for name, swarm, number in ((ALONE, route, few), (SHARED, servers, plan.clients)):
            say(f"starting {number} clients: {name}")
            crowds[name] = Crowd(stack, name, number, store, swarm.initial_peers, prompts, plan)
        say(f"starting {plan.clients - few} more clients: {ALONE}")
        more = Crowd(stack, CROWDED, plan.clients - few, store, route.initial_peers, prompts, plan)
        rounds: dict[str, list[list[Said]]] = {ALONE: [], SHARED: [], CROWDED: []}
        for number in range(plan.rounds):
            say(f"round {number + 1} of {plan.rounds}")
            for name, crowd in crowds.items():
                rounds[name].append(one_round(plan, crowd))
            if number == 0:
                rounds[CROWDED].append(one_round(plan, crowds[ALONE], more))
        peers = list(map(str, servers.peer_ids))
    return {
        "clients": {ALONE: few, SHARED: plan.clients, CROWDED: plan.clients},
        "seconds": plan.seconds,
        "expected": expected,
        "peers": peers,
        "rounds": rounds,
    }
