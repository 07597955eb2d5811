"""The servers of a demonstration, which may be killed and started again. Only those of one LocalSwarm."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from p2pinfer.errors import UsageError
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.types import PeerId, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoServer:
    """One server of the demonstration."""

    peer_id: PeerId
    layers: Span
    is_alive: bool


class Demo:
    """Kills and starts the servers of a swarm. Its methods block for a moment: call them in threads."""

    def __init__(self, swarm: LocalSwarm) -> None:
        self._swarm = swarm
        self._lock = threading.Lock()

    def servers(self) -> list[DemoServer]:
        """All of them, in the order of their start; those without a share of the layers aren't shown."""
        with self._lock:
            return [
                DemoServer(peer_id=peer_id, layers=server.layers, is_alive=server.returncode is None)
                for peer_id, server in zip(self._swarm.peer_ids, self._swarm.servers, strict=True)
                if server.layers is not None
            ]

    def kill(self, peer_id: str) -> None:
        """End a server without warning (SIGKILL), as a dead battery would. Harmless if it has ended.

        Raises UsageError if there is no such server.
        """
        with self._lock:
            self._swarm.kill(self._index(peer_id))

    def start(self, peer_id: str) -> None:
        """Start a server again that has ended. Harmless if it runs.

        Raises UsageError if there is no such server, SwarmError if it can't be started.
        """
        with self._lock:
            index = self._index(peer_id)
            if self._swarm.servers[index].returncode is not None:
                self._swarm.restart(index)

    def _index(self, peer_id: str) -> int:
        for index, known in enumerate(self._swarm.peer_ids):
            if known == peer_id:
                return index
        raise UsageError("this demonstration has no such server")
