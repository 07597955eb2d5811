"""The clients of bench_chaos: each is a process with one session at a time. Their events are kept."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scripts.benchmarks.chaos.work import tasks_of
from scripts.benchmarks.shared.host_process import HostProcess, Said
from scripts.benchmarks.shared.hosts import Hosts

TASKS = 60
READY_SECONDS = 120.0
LEAVE_SECONDS = 150.0
"""The time limit for the last generation of every client, which may wait for a route for a minute."""

_PROGRAM = "scripts.benchmarks.chaos.client"


class ChaosClient:
    """One client. Its list of events grows while it works."""

    def __init__(
        self, number: int, parameters: Said, *, prefix: Sequence[str], log: Path | None, stack: ExitStack
    ) -> None:
        self.number = number
        self.events: list[Said] = []
        self.peers: list[str] = []  # the hops that its session has now
        self.done = self.failed = 0
        self._news = threading.Condition()
        self._over = False
        self.process = stack.enter_context(
            HostProcess(_PROGRAM, parameters, prefix=prefix, log=log, hear=self._hear)
        )

    def wait(self, what: str, deadline: float) -> bool:
        """Wait for the client's ready event. False if the client ends or the time is up before."""
        with self._news:
            while not (said := any(event["what"] == what for event in self.events)):
                if self.process.returncode is not None or time.monotonic() > deadline:
                    break
                self._news.wait(0.2)
        return said

    @property
    def over(self) -> bool:
        """True if the process has ended, well or not."""
        return self._over or self.process.returncode is not None

    @property
    def left(self) -> bool:
        """The client has said that it is done."""
        return self._over

    def _hear(self, event: Said) -> None:
        with self._news:
            self.events.append(event)
            match event["what"]:
                case "hops":
                    self.peers = event["peers"]
                case "done":
                    self.done += 1
                case "failed":
                    self.failed += 1
                case "left":
                    self._over = True
            self._news.notify_all()


class ChaosClients:
    """Starts, watches and ends the clients."""

    def __init__(self, stack: ExitStack, problem: Callable[[str], None]) -> None:
        self.clients: list[ChaosClient] = []
        self._stack = stack
        self._problem = problem
        self._given_up: set[int] = set()

    def start(
        self,
        hosts: Hosts,
        parameters: dict[str, Any],
        *,
        count: int,
        seed: int,
        max_tokens: int,
        logs: Path | None,
    ) -> bool:
        """Start all clients; they work at once. False if a client didn't get ready."""
        for number in range(count):
            tasks = tasks_of(number, seed, count=TASKS, max_tokens=max_tokens)
            work = [task.as_json() for task in tasks]
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="p2pinfer-chaos-"))
            client = ChaosClient(  # each remembers for itself what servers did
                number,
                parameters | {"tasks": work, "cache_folder": folder},
                prefix=hosts.client_prefix(f"client-{number}"),
                log=None if logs is None else logs / f"client-{number}.log",
                stack=self._stack,
            )
            self.clients.append(client)
        deadline = time.monotonic() + READY_SECONDS
        for client in self.clients:
            if not client.wait("ready", deadline):
                self._give_up(client, "didn't get ready")
        return not self._given_up

    def users(self, peer_id: str) -> list[int]:
        """The numbers of the clients whose sessions have this server in their route now."""
        return [client.number for client in self.clients if peer_id in client.peers]

    def check(self) -> None:
        """Report clients that ended without being told to."""
        for client in self.clients:
            if client.process.returncode is not None and not client.left:
                self._give_up(client, f"ended with status {client.process.returncode}")

    def finish(self, meanwhile: Callable[[], None]) -> None:
        """Let every client end after its generation, and wait; `meanwhile` is called again and again."""
        for client in self.clients:
            client.process.tell(enough=True)
        deadline = time.monotonic() + LEAVE_SECONDS
        while not all(client.over for client in self.clients) and time.monotonic() < deadline:
            meanwhile()
        self.check()
        for client in self.clients:
            if not client.over:
                self._give_up(client, f"hangs: its last generation isn't done after {LEAVE_SECONDS:.0f} s")

    def _give_up(self, client: ChaosClient, what: str) -> None:
        if client.number not in self._given_up:
            self._given_up.add(client.number)
            client.peers = []
            self._problem(f"client {client.number} {what}; {client.process.last_words()}")
