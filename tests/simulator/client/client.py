"""The client in the simulated swarm; it replaces client/network.py, with a program per thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from p2pinfer.backoff import Chance
from p2pinfer.client.pay.payer import Payer
from p2pinfer.client.route.directory import Directory
from p2pinfer.identity import Identity
from tests.simulator.arithmetic import MODEL
from tests.simulator.client.carrier import SimCarrier
from tests.simulator.client.program import Program
from tests.simulator.network.dialling import HostLoop
from tests.simulator.network.host import Host
from tests.simulator.swarm import SimSwarm

T = TypeVar("T")


class SimClient:
    """A `Network` for InferenceSession."""

    def __init__(
        self,
        host: Host,
        loop: HostLoop,
        swarm: SimSwarm,
        identity: Identity,
        num_layers: int,
        chance: Chance,
    ) -> None:
        """`chance` spreads retries and choices: a seeded one makes every run the same."""
        self.chance = chance
        self.open_chains: set[object] = set()
        self.payer = Payer(identity)
        self.carrier = SimCarrier(host, loop)
        self.directory = Directory(swarm, self.carrier, MODEL, num_layers, chance=chance)
        self.directory.experience.unix_now = loop.clock.time
        self._loop = loop

    @property
    def is_running(self) -> bool:
        """True: the client runs as long as the world."""
        return True

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop. The calling program waits for it."""
        task = self._loop.create_task(work)
        Program.current().wait_for(task)
        return task.result()

    def call_soon(self, work: Callable[[], None]) -> None:
        self._loop.call_soon(work)

    def now(self) -> float:
        return self._loop.time()
