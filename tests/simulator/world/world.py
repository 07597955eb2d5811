"""Everything in a run: the clock, the machines, the swarm's records, and what has happened."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from functools import lru_cache, partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pinfer.identity import Identity
from p2pinfer.types import PeerId
from tests.simulator.client.client import SimClient
from tests.simulator.clock import Clock, DeadlockError, VirtualLoop
from tests.simulator.network.dialling import HostLoop
from tests.simulator.network.host import Host
from tests.simulator.network.network import Network, Wires
from tests.simulator.server.server import ServerShape, SimServer
from tests.simulator.swarm import SimSwarm

_MOST_TURNS_AT_ONCE = 20_000


class World:
    """One client's machine, and one for every server of `shapes`."""

    def __init__(self, seed: int, wires: Wires, shapes: tuple[ServerShape, ...]) -> None:
        self.clock = Clock()
        self.loop = VirtualLoop(self.clock, "network")
        self.network = Network(self.loop, seed, wires)
        self.swarm = SimSwarm(self.clock, random.Random(f"swarm {seed}"))
        self.trace: list[tuple[float, str, str]] = []
        self.errors: list[BaseException] = []
        self.listeners: list[Callable[[Host, str], None]] = []
        self.shapes: dict[PeerId, ServerShape] = {}
        self.impassable: list[tuple[float, float]] = []
        self._impassable_since: float | None = None
        self._servers: list[SimServer] = []
        self._runs: dict[PeerId, int] = {}
        self.client_host = self.network.add("client", PeerId(""))
        self.client_loop = HostLoop(self.clock, "client")
        self.client_loop.host = self.client_host
        self._loops: list[VirtualLoop] = [self.loop, self.client_loop]
        self._killed_loops: list[VirtualLoop] = []
        for loop in self._loops:
            loop.set_exception_handler(self._on_loop_error)
        for index, shape in enumerate(shapes):
            identity = _identity(index + 1)
            self.shapes[identity.peer_id] = shape
            self.start(self.network.add(f"{chr(ord('A') + index)}{shape.layers}", identity.peer_id))
        num_layers = shapes[0].num_layers
        self.client = SimClient(
            self.client_host,
            self.client_loop,
            self.swarm,
            _identity(0),
            num_layers,
            random.Random(f"client {seed}").random,
        )

    @property
    def hosts(self) -> list[Host]:
        """The servers' machines."""
        return [host for host in self.network.hosts.values() if host is not self.client_host]

    @property
    def living(self) -> list[SimServer]:
        """The servers whose process runs, stopped or not."""
        return [server for server in self._servers if not server.dead]

    def server_at(self, host: Host) -> SimServer | None:
        """The process there."""
        process = host.process
        return process if isinstance(process, SimServer) else None

    def note(self, who: str, what: str) -> None:
        """Write into the trace."""
        self.trace.append((self.clock.now, who, what))

    def start(self, host: Host) -> None:
        """Start a server's process, unless one runs."""
        if host.process is not None:
            return
        number = list(self.network.hosts).index(host.peer_id)
        run = self._runs[host.peer_id] = self._runs.get(host.peer_id, 0) + 1
        server = SimServer(
            host,
            _identity(number),
            self.shapes[host.peer_id],
            self.swarm,
            self.clock,
            run,
            partial(self._heard, host),
            self.errors.append,
        )
        self._servers.append(server)
        self._loops.append(server.loop)

    def kill(self, host: Host) -> None:
        """End a process between two instructions."""
        server = self.server_at(host)
        if server is not None:
            server.loop.frozen = True
            self._loops.remove(server.loop)
            self._killed_loops.append(server.loop)
            host.lose_process()

    def run_until(self, done: Callable[[], bool], limit_seconds: float) -> bool:
        """Let time pass. False if the limit was reached. Raises DeadlockError."""
        turns = 0
        while turns < _MOST_TURNS_AT_ONCE:
            if done() or self.errors:
                return True
            turns += 1
            now, next_at = self.clock.now, math.inf
            for loop in list(self._loops):
                if loop.frozen:
                    continue
                at = loop.due_at()
                if at <= now:
                    loop.turn()
                if at < next_at:
                    next_at = at
            if next_at <= now:
                continue
            if next_at == math.inf:
                raise DeadlockError("a task waits, and no event is left that could end its wait")
            if next_at > limit_seconds:
                return False
            self.clock.now, turns = next_at, 0
        due = [
            f"{loop.name}: {[*loop._ready, *loop._scheduled][0]!r}"
            for loop in self._loops
            if not loop.frozen and loop.due_at() <= self.clock.now
        ]
        raise DeadlockError(f"{turns} turns, and time stands still: {'; '.join(due)}")

    def look_for_a_way(self) -> None:
        """Note when there begins or ceases to be a chain of servers that a new session could take."""
        passable = self._passable()
        if passable and self._impassable_since is not None:
            self.impassable.append((self._impassable_since, self.clock.now))
            self._impassable_since = None
            self.note("world", "there is a way through all layers again")
        elif not passable and self._impassable_since is None:
            self._impassable_since = self.clock.now
            self.note("world", "there is no way through all layers")

    def impassable_seconds(self, since: float) -> float:
        """The seconds after `since` during which there was no way through all layers."""
        spans = [*self.impassable]
        if self._impassable_since is not None:
            spans.append((self._impassable_since, self.clock.now))
        return sum(max(0.0, end - max(begin, since)) for begin, end in spans)

    def close(self) -> None:
        """Close everything at the end of a run: later events don't count.

        Tasks of killed processes end here, too: else they would in a garbage collection, without a loop.
        """
        self.errors = []
        loops = [*self._loops, *self._killed_loops]
        for loop in loops:
            loop.set_exception_handler(lambda loop, context: None)
            loop.frozen = False
            for task in asyncio.all_tasks(loop):
                task.cancel()
        for _ in range(50):
            for loop in loops:
                if loop._ready:
                    loop.turn()
        for loop in loops:
            loop.close()

    def _heard(self, host: Host, event: str) -> None:
        self.note(host.name, event)
        if event.startswith(("draining", "has left")):
            self.loop.call_soon(self.look_for_a_way)
        for listener in list(self.listeners):
            listener(host, event)

    def _passable(self) -> bool:
        """True if a chain of servers takes sessions, all paths are open both ways, and the swarm answers."""
        if self.swarm.away:
            return False
        well = [server for server in self.living if not (server.loop.frozen or server.draining)]
        num_layers = next(iter(self.shapes.values())).num_layers
        frontier: list[tuple[int, Host]] = [(0, self.client_host)]
        seen: set[tuple[int, PeerId]] = set()
        while frontier:
            reached, at = frontier.pop()
            if reached == num_layers and self._open(at, self.client_host):
                return True
            for server in well:
                if reached in server.shape.layers and self._open(at, server.host):
                    for end in range(reached + 1, server.shape.layers.end + 1):
                        if (end, server.host.peer_id) not in seen:
                            seen.add((end, server.host.peer_id))
                            frontier.append((end, server.host))
        return False

    def _open(self, one: Host, other: Host) -> bool:
        return not (self.network.path(one, other).cut or self.network.path(other, one).cut)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        self.errors.append(
            error if isinstance(error, BaseException) else RuntimeError(str(context["message"]))
        )


@lru_cache
def _identity(number: int) -> Identity:
    """The same key for the same machine in every run."""
    return Identity(Ed25519PrivateKey.from_private_bytes(bytes([number + 1]) * 32))
