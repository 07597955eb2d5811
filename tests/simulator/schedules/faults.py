"""The faults of a schedule: what goes wrong, when, and at which host."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import Literal

from tests.simulator.network.host import Host
from tests.simulator.world.world import World

Kind = Literal[
    "kill", "vanish", "stop", "cut", "one-way", "reset", "drain", "slow", "twice", "swarm", "delay"
]
KINDS: tuple[Kind, ...] = (
    "kill", "vanish", "stop", "cut", "one-way", "reset", "drain", "slow", "twice", "swarm", "delay",
)  # fmt: skip


START_SECONDS = 1.0
"""Readers begin from here on, and fault times count from here: by then all servers are announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """At a time, or when `event` has happened `count` times, at any host."""

    seconds: float = 0.0
    event: str = ""
    count: int = 1

    def __str__(self) -> str:
        return f"at event {self.count} of '{self.event}'" if self.event else f"{self.seconds:.2f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`seconds`: until all is well again. `target`: a server's name; "busy": one that has sessions;
    "here": the host of the event; "spare": one without. `other`: the far end of a link; "": random."""

    kind: Kind
    when: Moment
    seconds: float = 1.0
    target: str = "busy"
    other: str = ""
    strength: float = 5.0

    def __str__(self) -> str:
        return f"{self.kind} {self.target} {self.other} for {self.seconds:.2f} s, {self.when}"


@dataclass(slots=True)
class Happened:
    """A fault that took place."""

    kind: Kind
    at: float
    seconds: float
    host: str


class Misfortune:
    """Makes faults happen in a world."""

    def __init__(self, world: World, faults: tuple[Fault, ...], seed: int) -> None:
        self.happened: list[Happened] = []
        self.over = False
        self._world = world
        self._random = random.Random(f"faults {seed}")
        self._counts: dict[str, int] = {}
        self._waiting = [fault for fault in faults if fault.when.event]
        self._cuts: dict[tuple[str, str], int] = {}
        self._stops: dict[str, int] = {}
        for fault in faults:
            if not fault.when.event:
                world.loop.call_at(START_SECONDS + fault.when.seconds, self._strike, fault, None)
        world.listeners.append(self._heard)

    def end(self) -> None:
        """Let no more faults happen; everything is mended."""
        self.over = True
        world = self._world
        world.swarm.away = False
        for host in world.hosts:
            server = world.server_at(host)
            if server is not None:
                server.loop.frozen = False
        for path in world.network._paths.values():
            path.heal()

    def _heard(self, host: Host, event: str) -> None:
        count = self._counts[event] = self._counts.get(event, 0) + 1
        for fault in list(self._waiting):
            if fault.when.event == event and fault.when.count == count:
                self._waiting.remove(fault)
                self._strike(fault, host)

    def _strike(self, fault: Fault, here: Host | None) -> None:
        if self.over:
            return
        world = self._world
        host = self._target(fault, here)
        if host is None:
            world.note("fault", f"{fault.kind}: nobody to hit")
            return
        self.happened.append(Happened(fault.kind, world.clock.now, fault.seconds, host.name))
        other = self._other(fault, host)
        world.note("fault", f"{fault.kind} {host.name} {other.name if other else ''} {fault.seconds:.2f} s")
        match fault.kind:
            case "kill":
                world.kill(host)
                self._later(fault, world.start, host)
            case "vanish":
                for neighbour in (world.client_host, *world.hosts):
                    self._cut(host, neighbour)
                    self._cut(neighbour, host)
                world.kill(host)
                self._later(fault, self._reappear, host)
            case "stop":
                self._stop(host)
                self._later(fault, self._go_on, host)
            case "cut" | "one-way":
                self._cut(host, other)
                self._later(fault, self._heal, host, other)
                if fault.kind == "cut":
                    self._cut(other, host)
                    self._later(fault, self._heal, other, host)
            case "reset":
                for socket in list(host.sockets):
                    if not socket.closed and self._random.random() < 0.5:
                        socket.reset()
            case "drain":
                server = world.server_at(host)
                if server is not None:
                    server.drain(fault.seconds)
                    world.loop.call_later(fault.seconds + 3.0, self._come_back, host, 0)
            case "slow":
                server = world.server_at(host)
                if server is not None:
                    server.batcher.slow_factor = fault.strength
                    self._later(fault, partial(setattr, server.batcher, "slow_factor", 1.0))
            case "twice":
                host.twice = world.client_host.twice = 20
            case "swarm":
                world.swarm.away = True
                self._later(fault, partial(setattr, world.swarm, "away", False))
            case "delay":
                for neighbour in (world.client_host, *world.hosts):
                    for path in (world.network.path(host, neighbour), world.network.path(neighbour, host)):
                        path.delay_seconds += 0.4
                        self._later(fault, self._hurry, path)
        world.look_for_a_way()
        world.loop.call_later(0.001, world.look_for_a_way)  # the process needs a turn to handle a signal

    def _later(self, fault: Fault, undo: object, *arguments: object) -> None:
        def undone() -> None:
            if not self.over:
                self._world.note("fault", f"{fault.kind} is over")
                undo(*arguments)  # type: ignore[operator]
                # a process needs a turn to start
                self._world.loop.call_later(0.001, self._world.look_for_a_way)

        self._world.loop.call_later(fault.seconds, undone)

    def _target(self, fault: Fault, here: Host | None) -> Host | None:
        world = self._world
        if fault.target == "here":
            return here
        living = [server for server in world.living if not server.loop.frozen]
        busy = [server.host for server in living if len(server.sessions)]
        if fault.target == "busy":
            return self._random.choice(busy) if busy else None
        if fault.target == "spare":
            spare = [server.host for server in living if server.host not in busy]
            return self._random.choice(spare) if spare else None
        everybody = [world.client_host, *world.hosts]
        return next((host for host in everybody if host.name.startswith(fault.target)), None)

    def _other(self, fault: Fault, host: Host) -> Host:
        world = self._world
        everybody = [world.client_host, *(other for other in world.hosts if other is not host)]
        if fault.other:
            return next(other for other in everybody if other.name.startswith(fault.other))
        return self._random.choice(everybody)

    def _stop(self, host: Host) -> None:
        self._stops[host.name] = self._stops.get(host.name, 0) + 1
        server = self._world.server_at(host)
        if server is not None:
            server.loop.frozen = True

    def _go_on(self, host: Host) -> None:
        self._stops[host.name] -= 1
        server = self._world.server_at(host)
        if server is not None and not self._stops[host.name]:
            server.loop.frozen = False

    def _cut(self, one: Host, other: Host) -> None:
        if one is not other:
            key = (one.name, other.name)
            self._cuts[key] = self._cuts.get(key, 0) + 1
            self._world.network.path(one, other).cut = True

    def _heal(self, one: Host, other: Host) -> None:
        if one is not other:
            key = (one.name, other.name)
            self._cuts[key] -= 1
            if not self._cuts[key]:
                self._world.network.path(one, other).heal()

    def _reappear(self, host: Host) -> None:
        for neighbour in (self._world.client_host, *self._world.hosts):
            self._heal(host, neighbour)
            self._heal(neighbour, host)
        self._world.start(host)

    def _come_back(self, host: Host, tries: int) -> None:
        """Start a server again as soon as it has left."""
        if host.process is None and not self.over:
            self._world.note("fault", "drain is over")
            self._world.start(host)
            self._world.loop.call_later(0.001, self._world.look_for_a_way)
        elif tries < 60 and not self.over:
            self._world.loop.call_later(1.0, self._come_back, host, tries + 1)

    @staticmethod
    def _hurry(path: object) -> None:
        path.delay_seconds -= 0.4  # type: ignore[attr-defined]
