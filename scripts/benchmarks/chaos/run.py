"""Runs bench_chaos: first the undisturbed texts, then servers and clients, then one fault after the other."""

from __future__ import annotations

import math
import random
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from p2pinfer.types import short_id
from scripts.benchmarks.chaos.clients import ChaosClients
from scripts.benchmarks.chaos.faults import Dealer, Fault, FaultKind, ServerView, direction_of
from scripts.benchmarks.chaos.malice import chosen
from scripts.benchmarks.chaos.servers import REPLICAS, STAGES, Servers, State, name
from scripts.benchmarks.chaos.work import TEXTS
from scripts.benchmarks.contenders.turns import Contender
from scripts.benchmarks.shared.hosts import LOOPBACK, Hosts
from scripts.benchmarks.shared.report import machine, say

POLL_SECONDS = 0.05
WARM_UP_SECONDS = 5.0
"""The time without faults at the beginning, so that every session has a route and a pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings from the command line."""

    minutes: float
    network: str
    seed: int
    every_seconds: float
    kinds: frozenset[FaultKind]
    sessions: int
    max_tokens: int
    logs: Path | None
    hostile_share: float = 0.0


def measure(settings: Settings) -> dict[str, Any]:
    """Run the benchmark and return everything that happened. Raises P2PInferError if it can't run."""
    store = open_model(
        str(fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)),
        cache_folder=user_cache_folder(),
        progress=say,
    )
    prompts = encoded(store)
    if settings.logs is not None:
        settings.logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        hosts = stack.enter_context(Hosts(settings.network, seed=settings.seed))
        say("generating every text in one process, undisturbed")
        expected = undisturbed(store, prompts, settings.max_tokens)
        conductor = Conductor(settings, hosts, stack)
        conductor.start(store, prompts)
        conductor.conduct()
        clients = conductor.clients.clients
        return {
            "model": store.manifest.name,
            "machine": machine(),
            "network": settings.network,
            "seed": settings.seed,
            "seconds": 60 * settings.minutes,
            "every_seconds": settings.every_seconds,
            "replicas": REPLICAS,
            "prompt_tokens": [len(prompt) for prompt in prompts],
            "expected": expected,
            "began": conductor.began,
            "hostile": [
                {"peer_id": conductor.servers.swarm.peer_ids[index], "malice": malice.value}
                for index, malice in conductor.servers.hostile.items()
            ],
            "faults": [fault.as_json() for fault in conductor.faults],
            "problems": conductor.problems,
            "clients": [client.events for client in clients],
        }


def encoded(store: LayerStore) -> list[list[int]]:
    """The prompts as token ids."""
    tokenizer = Tokenizer.from_file(str(store.folder / "tokenizer.json"))
    return [tokenizer.encode(text).ids for text in TEXTS]


def undisturbed(store: LayerStore, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
    """The greedy continuation of every prompt: more tokens than any task asks for."""
    with Contender("engine", store=str(store.folder)) as engine:
        answer = engine.ask("decode", prompts=prompts, tokens=max_tokens - min(map(len, prompts)))
    tokens: list[list[int]] = answer["tokens"]
    return tokens


class Conductor:
    """The servers, the clients, and the faults that hit the servers."""

    def __init__(self, settings: Settings, hosts: Hosts, stack: ExitStack) -> None:
        self.faults: list[Fault] = []
        self.problems: list[str] = []
        self._settings = settings
        self._hosts = hosts
        self.began = time.monotonic()
        self._chance = random.Random(settings.seed)
        hostile = (
            chosen(STAGES, REPLICAS, settings.hostile_share, self._chance) if settings.hostile_share else {}
        )
        self.servers = Servers(hosts, stack.enter_context(LocalSwarm()), self._problem, hostile)
        self.clients = ChaosClients(stack, self._problem)
        impossible = {FaultKind.CUT} if hosts.lab is None else set()
        self._dealer = Dealer(settings.kinds - impossible, self._chance)

    def start(self, store: LayerStore, prompts: list[list[int]]) -> None:
        """Start the servers, then the clients. Raises SwarmError."""
        settings = self._settings
        where = "on loopback" if settings.network == LOOPBACK else f"each on a {settings.network} host"
        say(f"starting {len(self.servers.states)} servers and {settings.sessions} clients, {where}")
        for index, malice in self.servers.hostile.items():
            say(f"{name(index)} is hostile: {malice.value}")
        self.servers.start(store)
        self.clients.start(
            self._hosts,
            {
                "store": str(store.folder),
                "initial_peers": self.servers.swarm.fixed_addresses,
                "prompts": prompts,
            },
            count=settings.sessions,
            seed=settings.seed,
            max_tokens=settings.max_tokens,
            logs=settings.logs,
        )

    def conduct(self) -> None:
        """Let all faults happen, then wait without faults until the last generation is done."""
        self.began = time.monotonic()
        end = self.began + 60 * self._settings.minutes
        next_at = self.began + WARM_UP_SECONDS if self._settings.kinds else math.inf
        while time.monotonic() < end:
            self._look()
            if time.monotonic() >= next_at and self._one_fault():
                next_at = max(next_at + self._settings.every_seconds, time.monotonic())
        self._report("no more faults: the last generations are awaited")
        self.clients.finish(self._look)
        self._report("all clients are done")

    def _look(self) -> None:
        time.sleep(POLL_SECONDS)
        self.servers.tend()
        self.clients.check()

    def _one_fault(self) -> bool:
        """Begin a fault. False if there can't be one now."""
        peers = self.servers.swarm.peer_ids
        views = [
            ServerView(
                stage=index // REPLICAS,
                serving=state is State.SERVING and index not in self.servers.hostile,
                in_use=bool(self.clients.users(peers[index])),
            )
            for index, state in enumerate(self.servers.states)
        ]
        dealt = self._dealer.deal(views)
        if dealt is None:
            return False
        kind, server = dealt
        fault = Fault(
            kind=kind,
            server=server,
            peer_id=peers[server],
            at=time.monotonic(),
            users=self.clients.users(peers[server]),
            direction=direction_of(self._chance) if kind is FaultKind.CUT else None,
        )
        self.servers.hurt(fault)
        self.faults.append(fault)
        one_way = "" if fault.direction is None else f" ({fault.direction.value})"
        users = f"in use by {', '.join(map(str, fault.users))}" if fault.users else "not in use"
        self._report(f"{name(server)} {short_id(fault.peer_id)} {kind.value}{one_way}, {users}")
        return True

    def _problem(self, what: str) -> None:
        self.problems.append(what)
        self._report(f"PROBLEM: {what}")

    def _report(self, what: str) -> None:
        clients = self.clients.clients
        done, failed = (sum(getattr(client, which) for client in clients) for which in ("done", "failed"))
        seconds = time.monotonic() - self.began
        say(f"{time.strftime('%H:%M:%S')} {seconds:6.1f} s  {done:3} done, {failed} failed  {what}")
