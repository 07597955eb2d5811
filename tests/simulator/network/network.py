"""All machines, and the paths between them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from p2pinfer.types import PeerId
from tests.simulator.clock import VirtualLoop
from tests.simulator.network.host import Host
from tests.simulator.network.sockets import Path, Socket


@dataclass(frozen=True, slots=True, kw_only=True)
class Wires:
    """The paths' properties, and how much may be under way on a connection before the sender has to wait."""

    delay_seconds: float = 0.01
    jitter_seconds: float = 0.002
    bytes_per_second: float = float("inf")
    capacity_bytes: int = 1 << 16


@dataclass
class Network:
    """Hosts by peer id. Its loop is the world's own: it never stops."""

    loop: VirtualLoop
    seed: int
    wires: Wires
    hosts: dict[PeerId, Host] = field(default_factory=dict)
    _paths: dict[tuple[PeerId, PeerId], Path] = field(default_factory=dict)

    def add(self, name: str, peer_id: PeerId) -> Host:
        """Add a machine without a process."""
        host = self.hosts[peer_id] = Host(name, peer_id, self, order=len(self.hosts))
        return host

    def path(self, one: Host, other: Host) -> Path:
        """The path from one host to another."""
        key = (one.peer_id, other.peer_id)
        if key not in self._paths:
            wires = self.wires
            chance = random.Random(f"{self.seed} {one.order} {other.order}")
            delay = wires.delay_seconds * chance.uniform(0.5, 1.5)
            self._paths[key] = Path(self.loop, chance, delay, wires.jitter_seconds, wires.bytes_per_second)
        return self._paths[key]

    def socket_pair(self, one: Host, other: Host) -> tuple[Socket, Socket]:
        """The ends of a new connection."""
        return Socket.pair(self.path(one, other), self.path(other, one), self.wires.capacity_bytes)
