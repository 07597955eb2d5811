"""The servers of bench_chaos: three stages of three replicas; faults hit them, and then they are restored."""

from __future__ import annotations

import enum
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.chaos.faults import RESTART_SECONDS, SILENT_SECONDS, Fault, FaultKind
from scripts.benchmarks.chaos.malice import HOSTILE_PROGRAM, Malice
from scripts.benchmarks.shared.hosts import Hosts

STAGES = 3
REPLICAS = 3
START_SECONDS = 90.0
LEAVE_SECONDS = 75.0
"""A server that drains leaves after `--drain-seconds`, 60 by default, at the latest."""


class State(enum.Enum):
    """Where a server is in the cycle of a fault."""

    SERVING = "serving"
    STARTING = "starting"
    DEAD = "dead"
    SILENT = "silent"
    LEAVING = "leaving"


@dataclass(slots=True)
class _Care:
    """One server's state, its present fault, and when that state has to end."""

    state: State = State.SERVING
    fault: Fault | None = None
    due: float = 0.0


class Servers:
    """The servers, stage by stage: server 4 is the second stage's second replica. They end with the swarm.

    Behaviour that no fault explains is reported to `problem`.
    """

    def __init__(
        self,
        hosts: Hosts,
        swarm: LocalSwarm,
        problem: Callable[[str], None],
        hostile: Mapping[int, Malice],
    ) -> None:
        self.swarm = swarm
        self.hostile = hostile
        self._hosts = hosts
        self._problem = problem
        self._care = [_Care() for _ in range(STAGES * REPLICAS)]

    def start(self, store: LayerStore) -> None:
        """Start all servers and wait until they are ready. Raises SwarmError."""
        spans = split_layers(store.manifest.num_layers, STAGES)
        for index in range(len(self._care)):
            malice = self.hostile.get(index)
            self.swarm.launch(
                store.folder,
                [spans[index // REPLICAS]],
                threads=1,
                places=[self._hosts.server_place(_host(index))],
                program="p2pinfer.server" if malice is None else HOSTILE_PROGRAM,
                server_arguments=() if malice is None else ("--malice", malice.value),
            )
        self.swarm.wait_ready()

    @property
    def states(self) -> list[State]:
        """The state of every server."""
        return [care.state for care in self._care]

    def hurt(self, fault: Fault) -> None:
        """Begin a fault; `tend` ends it."""
        server, care = self.swarm.servers[fault.server], self._care[fault.server]
        care.fault = fault
        match fault.kind:
            case FaultKind.KILL:
                server.kill()
                care.state, care.due = State.DEAD, fault.at + RESTART_SECONDS
            case FaultKind.DRAIN:
                server.signal(signal.SIGTERM)
                care.state, care.due = State.LEAVING, fault.at + LEAVE_SECONDS
            case FaultKind.STOP:
                server.pause()
                care.state, care.due = State.SILENT, fault.at + SILENT_SECONDS
            case FaultKind.CUT:
                assert self._hosts.lab is not None
                assert fault.direction is not None
                self._hosts.lab.cut(_host(fault.server), fault.direction)
                care.state, care.due = State.SILENT, fault.at + SILENT_SECONDS

    def tend(self) -> None:
        """Take the steps that are due. To be called often."""
        if self._hosts.lab is not None:
            self._hosts.lab.check()
        for index in range(len(self._care)):
            self._tend_one(index, time.monotonic())

    def _tend_one(self, index: int, now: float) -> None:
        care, server = self._care[index], self.swarm.servers[index]
        ended = server.returncode is not None
        match care.state:
            case State.SERVING if ended:
                self._complain(index, f"ended by itself, with status {server.returncode}")
                self._restart(index, now)
            case State.STARTING if server.seconds_to_ready is not None:
                care.state = State.SERVING
            case State.STARTING if ended or now > care.due:
                self._complain(index, "didn't come back")
                self._restart(index, now)
            case State.DEAD if now >= care.due:
                self._restart(index, now)
            case State.SILENT if ended:
                self._complain(index, f"ended in silence, with status {server.returncode}")
                self._end_silence(care)
                self._restart(index, now)
            case State.SILENT if now >= care.due:
                self._end_silence(care)
                care.state = State.SERVING
                self._end_fault(care)
            case State.LEAVING if ended:
                if server.returncode != 0:
                    self._complain(index, f"was asked to leave and ended with status {server.returncode}")
                self._restart(index, now)
            case State.LEAVING if now > care.due:
                self._complain(index, f"didn't leave within {LEAVE_SECONDS:.0f} s")
                self._restart(index, now)

    def _end_silence(self, care: _Care) -> None:
        assert care.fault is not None
        if care.fault.kind is FaultKind.STOP:
            self.swarm.servers[care.fault.server].resume()
        elif care.fault.direction is not None and self._hosts.lab is not None:
            self._hosts.lab.heal(_host(care.fault.server), care.fault.direction)

    def _restart(self, index: int, now: float) -> None:
        self._end_fault(self._care[index])
        self.swarm.restart(index)
        self._care[index].state, self._care[index].due = State.STARTING, now + START_SECONDS

    def _end_fault(self, care: _Care) -> None:
        if care.fault is not None:
            care.fault.until = time.monotonic()
            care.fault = None

    def _complain(self, index: int, what: str) -> None:
        said = "".join(f"\n    {line}" for line in self.swarm.servers[index].lines[-8:])
        self._problem(f"{name(index)} {what}; it said:{said or ' nothing'}")


def name(index: int) -> str:
    """A server's name in reports: `server 2b` is the second replica of the second stage."""
    return f"server {1 + index // REPLICAS}{'abcdefgh'[index % REPLICAS]}"


def _host(index: int) -> str:
    return name(index).replace(" ", "-")
