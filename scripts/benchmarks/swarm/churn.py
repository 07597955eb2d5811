"""Forty servers die, leave and come back while clients generate; every text is compared with one process'."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.swarm.census.stretches import missing_spans
from p2pinfer.types import PeerId
from scripts.benchmarks.chaos.clients import ChaosClients
from scripts.benchmarks.chaos.figures import generations_of
from scripts.benchmarks.chaos.run import encoded, undisturbed
from scripts.benchmarks.shared.hosts import LOOPBACK, Hosts
from scripts.benchmarks.shared.report import say
from scripts.benchmarks.swarm.members import READY_SECONDS, Members
from scripts.benchmarks.swarm.spread import served_at
from scripts.benchmarks.swarm.victims import half_that_hurts
from scripts.benchmarks.swarm.watch import Watch

CAME_BACK = "came back"
MOST_TOKENS = 128
"""Of a prompt and its answer."""

_POLL_SECONDS = 0.1
_MOST_SECONDS = 300.0
"""A gap that stays open so long isn't waited for."""
_QUIET_SECONDS = 5.0
"""Every layer has had a server for so long before the next event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnPlan:
    """How many servers, and how long things take."""

    servers: int = 40
    change: int = 10  # servers that are killed, and that drain
    clients: int = 3
    least_seconds: float = 15.0  # between two events
    patience_seconds: float = 60.0  # of clients, while no server has some layers
    seed: int = 1
    logs: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One event, and what came of it."""

    what: str
    servers: int  # that were hit, or came
    left: int  # that run afterwards
    lost_layers: int  # that none of those left served at first
    seconds: float | None  # from the event until every layer is served by those; None: it isn't
    moves: list[str]  # that were made since the event


def measure_churn(store: LayerStore, plan: ChurnPlan) -> dict[str, Any]:
    """Raises P2PInferError if it can't run."""
    prompts = encoded(store)
    say("generating every text in one process, undisturbed")
    expected = undisturbed(store, prompts, MOST_TOKENS)
    with ExitStack() as stack:
        churn = _Churn(store, plan, stack)
        churn.start(prompts)
        churn.conduct()
        clients = [client.events for client in churn.clients.clients]
    lengths = [len(prompt) for prompt in prompts]
    generations = [
        asdict(generation)
        for number, events in enumerate(clients)
        for generation in generations_of(number, events, lengths, expected)
    ]
    done = [generation for generation in generations if generation["error"] is None]
    return {
        "servers": plan.servers,
        "phases": [asdict(phase) for phase in churn.phases],
        "done": len(done),
        "failed": [generation["error"] for generation in generations if generation["error"] is not None],
        "compared_tokens": sum(generation["compared"] for generation in done),
        "identical_tokens": sum(generation["identical"] for generation in done),
        "replaced_hops": sum(generation["replaced"] for generation in generations),
        "replayed_tokens": sum(generation["replayed"] for generation in generations),
        "problems": churn.problems,
    }


class _Churn:
    """The servers, the clients, and what happens to the servers."""

    def __init__(self, store: LayerStore, plan: ChurnPlan, stack: ExitStack) -> None:
        self.phases: list[Phase] = []
        self.problems: list[str] = []
        self._store, self._plan, self._stack = store, plan, stack
        self._num_layers = store.manifest.num_layers
        self._chance = random.Random(plan.seed)
        self._hosts = stack.enter_context(Hosts(LOOPBACK, seed=plan.seed))
        swarm = stack.enter_context(LocalSwarm(ready_timeout_seconds=READY_SECONDS))
        self._members = Members(swarm, self._hosts, store)
        self.clients = ChaosClients(stack, self._problem)

    def start(self, prompts: list[list[int]]) -> None:
        """Start the servers, then the clients, which generate from then on. Raises SwarmError."""
        plan, members = self._plan, self._members
        say(f"starting {plan.servers} servers and {plan.clients} clients")
        members.launch(plan.servers)
        members.wait_ready()
        known = members.swarm.fixed_addresses
        self._watch = self._stack.enter_context(Watch(known, self._store.manifest))
        if plan.logs is not None:
            plan.logs.mkdir(parents=True, exist_ok=True)
        self.clients.start(
            self._hosts,
            {
                "store": str(self._store.folder),
                "initial_peers": known,
                "prompts": prompts,
                "timeout": plan.patience_seconds,
            },
            count=plan.clients,
            seed=plan.seed,
            max_tokens=MOST_TOKENS,
            logs=plan.logs,
        )

    def conduct(self) -> None:
        """Kill some, let some leave, let all come back, kill half at once; wait until the texts are done."""
        members, change = self._members, self._plan.change
        self._observe(self._plan.least_seconds, lambda: True)
        killed = self._some(change)
        self._phase("killed", killed, lambda: members.kill(killed))
        drained = self._some(change)
        self._phase("drained", drained, lambda: members.drain(drained))
        members.wait_left(drained)
        self._phase(CAME_BACK, [*killed, *drained], lambda: members.come_back([*killed, *drained]))
        self._observe(READY_SECONDS, self._all_ready)
        half = self._half()
        self._phase("killed, half of all", half, lambda: members.kill(half))
        say("no more events: the last texts are awaited")
        self.clients.finish(lambda: self._observe(_POLL_SECONDS, lambda: False))

    def _phase(self, what: str, numbers: Sequence[int], act: Callable[[], None]) -> None:
        """Do something to these servers, and watch until every layer has had a server for a while."""
        members, began = self._members, time.monotonic()
        act()
        staying, before = members.peers(), len(members.moves())
        lost = self._num_layers_lost(staying)

        def seconds() -> float | None:
            at = served_at(self._watch.sightings, staying, self._num_layers, began)
            return None if at is None else at - began

        def is_over() -> bool:
            took, passed = seconds(), time.monotonic() - began
            return took is not None and passed > max(took + _QUIET_SECONDS, self._plan.least_seconds)

        self._observe(_MOST_SECONDS, is_over)
        phase = Phase(
            what=what,
            servers=len(numbers),
            left=len(staying),
            lost_layers=lost,
            seconds=seconds(),
            moves=members.moves()[before:],
        )
        self.phases.append(phase)
        done, failed = (
            sum(getattr(one, which) for one in self.clients.clients) for which in ("done", "failed")
        )
        took = "never" if phase.seconds is None else f"after {phase.seconds:.1f} s"
        say(
            f"  {phase.servers} {what}: {lost} layers without a server, all served {took}, "
            f"{len(phase.moves)} moves; {done} texts done, {failed} failed"
        )

    def _observe(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Watch for so long at most."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(_POLL_SECONDS)
            self.clients.check()
            for words in self._members.fallen():
                if words not in self.problems:
                    self._problem(words)
            if is_over():
                return

    def _all_ready(self) -> bool:
        servers = self._members.swarm.servers
        return all(servers[index].seconds_to_ready is not None for index in self._members.running)

    def _some(self, number: int) -> list[int]:
        return self._chance.sample(sorted(self._members.running - {self._members.anchor}), number)

    def _half(self) -> list[int]:
        """Those of which the swarm suffers most."""
        members = self._members
        layers = {
            members.number(seen.peer_id): seen.layers
            for seen in self._watch.latest.servers
            if seen.peer_id in members.peers()
        }
        return half_that_hurts(layers, self._num_layers, members.anchor, self._chance)

    def _num_layers_lost(self, staying: set[PeerId]) -> int:
        spans = self._watch.latest.serving(staying)
        return sum(map(len, missing_spans(spans, self._num_layers)))

    def _problem(self, what: str) -> None:
        self.problems.append(what)
        say(f"PROBLEM: {what}")
