"""The servers of bench_swarm. Each chooses its layers itself; they are killed, drained and started again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Sequence

from p2pinfer.errors import SwarmError
from p2pinfer.local_swarm.server_process import READY_PREFIX
from p2pinfer.local_swarm.swarm import LocalSwarm, Place
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import PeerId, Span
from scripts.benchmarks.shared.hosts import Hosts

NUM_LAYERS = 10
"""Of each server."""
KNOWN = 3
"""So many servers have addresses that stay the same. The others find the swarm through one of them."""
READY_SECONDS = 600.0

_CACHE_TOKENS = 4096
_LEAVE_SECONDS = 90.0
_MOVING = "moving from layers"


class Members:
    """Servers by number. The swarm ends them."""

    def __init__(self, swarm: LocalSwarm, hosts: Hosts, store: LayerStore) -> None:
        self.swarm = swarm
        self.running: set[int] = set()
        self.launched_at = 0.0  # time.monotonic, of the last one
        self._hosts = hosts
        self._store = store

    def launch(self, number: int) -> None:
        """Start so many at once. The first of all founds the swarm: this waits until it can be joined."""
        first = len(self.swarm.servers)
        places = [
            self._hosts.server_place(f"server-{index}") if index < KNOWN else Place()
            for index in range(first, first + number)
        ]
        self.swarm.launch(
            self._store.folder,
            [None] * number,
            threads=1,
            server_arguments=("--max-cache-tokens", str(_CACHE_TOKENS), "--num-layers", str(NUM_LAYERS)),
            places=places,
        )
        self.launched_at = time.monotonic()
        self.running |= set(range(first, first + number))

    def wait_ready(self) -> None:
        """Wait until all that run take sessions. Raises SwarmError."""
        deadline = time.monotonic() + READY_SECONDS
        for index in self.running:
            self.swarm.servers[index].wait_ready(deadline)

    def peers(self) -> set[PeerId]:
        """The peer ids of all that run."""
        return {self.swarm.peer_ids[index] for index in self.running}

    def number(self, peer_id: PeerId) -> int:
        """The server with this peer id."""
        return self.swarm.peer_ids.index(peer_id)

    @property
    def anchor(self) -> int:
        """A running server with a fixed address. It stays, so that those that come back find the swarm."""
        return min(self.running & set(range(KNOWN)))

    def kill(self, numbers: Sequence[int]) -> None:
        """End these at once, as dead batteries would."""
        for index in numbers:
            self.swarm.servers[index].signal(signal.SIGKILL)
        for index in numbers:
            self.swarm.kill(index)
            self.running.discard(index)

    def drain(self, numbers: Iterable[int]) -> None:
        """Ask these to leave. They count as gone from now on."""
        for index in numbers:
            self.swarm.servers[index].signal(signal.SIGTERM)
            self.running.discard(index)

    def wait_left(self, numbers: Iterable[int]) -> None:
        """Wait until those that were asked to leave have left. Raises SwarmError if one didn't do it well."""
        deadline = time.monotonic() + _LEAVE_SECONDS
        for index in numbers:
            server = self.swarm.servers[index]
            server.wait(max(0.0, deadline - time.monotonic()))
            if server.returncode != 0:
                said = "".join(f"\n    {line}" for line in server.lines[-8:])
                raise SwarmError(f"server {index} left with status {server.returncode}; it said:{said}")

    def come_back(self, numbers: Iterable[int]) -> None:
        """Start these again, as the same peers."""
        for index in numbers:
            self.swarm.restart(index)
            self.running.add(index)
        self.launched_at = time.monotonic()

    def fallen(self) -> list[str]:
        """What servers said that ended without having been told to."""
        return [
            f"server {index} ended with status {server.returncode}: {' | '.join(server.lines[-5:])}"
            for index, server in enumerate(self.swarm.servers)
            if index in self.running and server.returncode is not None
        ]

    def moves(self) -> list[str]:
        """What the running servers said when they went to other layers."""
        return [line for index in self.running for line in self._said(index, _MOVING)]

    def layers(self) -> list[Span]:
        """What each running server serves, as it said last."""
        return [Span.parse(self._said(index, READY_PREFIX)[-1].split()[2]) for index in sorted(self.running)]

    def _said(self, index: int, prefix: str) -> list[str]:
        return [line for line in self.swarm.servers[index].lines if line.startswith(prefix)]
