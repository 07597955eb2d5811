"""A swarm of real server processes on this machine. None of them outlives it.

scripts/quickstart, the benchmarks and the end-to-end tests start their servers here.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.local_swarm.paid_keys import PaidKeys, paid_keys_folder
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.types import PeerId, Span

STOP_GRACE_SECONDS = 8.0
HURRY_SECONDS = 4.0
"""A server that still drains this long after the first request to leave is asked to leave at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server runs. The default is the loopback interface."""

    address: str = "127.0.0.1"
    dht_port: int = 0
    """Port of its libp2p host; 0: any. With a fixed port, others find it again after a restart."""
    prefix: tuple[str, ...] = ()
    """Words before its command: a program that ends by exec of the rest."""


LOOPBACK = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """Everything that starts a server, and starts it again."""

    arguments: tuple[str, ...]
    layers: Span | None
    place: Place
    peer_id: PeerId

    @property
    def maddr(self) -> str | None:
        """The address where others join through it; None if it is unknown before the start."""
        if not self.place.dht_port:
            return None
        return f"/ip4/{self.place.address}/tcp/{self.place.dht_port}/p2p/{self.peer_id}"


class LocalSwarm:
    """Server processes on this machine that together form one swarm. A context manager that ends them all.

    with LocalSwarm() as swarm:
        swarm.start(store_folder, split_layers(30, 3))
        ... from_pretrained(store_folder, initial_peers=swarm.initial_peers)
    """

    def __init__(
        self, *, ready_timeout_seconds: float = 120.0, say: Callable[[str], None] | None = None
    ) -> None:
        """`say` gets one line where the servers' identities have to be made first."""
        self.servers: list[ServerProcess] = []
        self.initial_peers: list[str] = []
        self._recipes: list[_Recipe] = []
        self._ready_timeout_seconds = ready_timeout_seconds
        # Ctrl-C interrupts the main thread anywhere. A process that another thread is starting still gets
        # into `servers`, and so is ended.
        self._launcher = ThreadPoolExecutor(max_workers=1)
        self._launcher.submit(lambda: None).result()  # starts its thread
        self._folder = tempfile.TemporaryDirectory(prefix="p2pinfer-servers-")
        self._keys = PaidKeys(paid_keys_folder(), Path(self._folder.name), say)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def peer_ids(self) -> list[PeerId]:
        """Peer ids in the order of `servers`. A restarted server keeps its id."""
        return [recipe.peer_id for recipe in self._recipes]

    def data_folder(self, index: int) -> Path:
        """The folder of one server's owner's files. Restarts keep it."""
        return Path(self._folder.name) / str(index)

    @property
    def fixed_addresses(self) -> list[str]:
        """The multiaddresses of all servers with a fixed `dht_port`."""
        return [recipe.maddr for recipe in self._recipes if recipe.maddr is not None]

    def start(
        self,
        model: Path | str | None,
        spans: Sequence[Span | None],
        *,
        threads: int | None = None,
        server_arguments: Sequence[str] = (),
        places: Sequence[Place] | None = None,
        report: Callable[[ServerProcess], None] | None = None,
    ) -> None:
        """Launch one server per span and wait until all are ready.

        Without a model, or without a span, a server chooses for itself. Raises SwarmError with the last
        output of a server that failed.
        """
        self.launch(model, spans, threads=threads, server_arguments=server_arguments, places=places)
        self.wait_ready(report)

    def launch(
        self,
        model: Path | str | None,
        spans: Sequence[Span | None],
        *,
        threads: int | None = None,
        server_arguments: Sequence[str] = (),
        places: Sequence[Place] | None = None,
        program: str = "p2pinfer.server",
    ) -> None:
        """Launch one server per span, each at its place. They run when this returns; they aren't ready yet.

        The others need the address that the first server prints, so this waits for it. `program` is the
        module to run in the place of a server.
        """
        for span, place in zip(spans, places or [LOOPBACK] * len(spans), strict=True):
            arguments = [program]
            if model is not None:
                arguments.append(str(model))
            if span is not None:
                arguments += ["--layers", str(span)]
            arguments += ["--listen", f"{place.address}:0"]
            if place.dht_port:
                arguments += ["--dht-listen", f"/ip4/{place.address}/tcp/{place.dht_port}"]
            key_file = self._keys.take()
            data_folder = self.data_folder(len(self.servers))
            # These servers serve only this machine, and its owner starts them: no question is needed.
            arguments += ["--identity", str(key_file), "--data-folder", str(data_folder), "--accept"]
            if threads is not None:
                arguments += ["--threads", str(threads)]
            recipe = _Recipe(
                arguments=(*arguments, *server_arguments),
                layers=span,
                place=place,
                peer_id=Identity.load_or_create(key_file).peer_id,
            )
            self._launcher.submit(self._launch_one, recipe).result()
            if not self.initial_peers:
                deadline = time.monotonic() + self._ready_timeout_seconds
                self.initial_peers = list(self.servers[-1].wait_joinable(deadline))

    def _launch_one(self, recipe: _Recipe) -> None:
        self.servers.append(_started(recipe, self.initial_peers))
        self._recipes.append(recipe)

    def restart(self, index: int) -> ServerProcess:
        """End a server if it runs, and launch it again as the same peer. It isn't ready when this returns.

        Raises SwarmError for the first server unless another has a fixed `dht_port`: without one, the
        address of the swarm is unknown.
        """
        recipe = self._recipes[index]
        others = [maddr for maddr in self.fixed_addresses if maddr != recipe.maddr]
        if not others and index > 0:
            others = self.initial_peers
        if not others:
            raise SwarmError("the first server of a swarm can't be restarted: no other has a fixed address")
        self._launcher.submit(self._relaunch, index, recipe, others).result()
        return self.servers[index]

    def _relaunch(self, index: int, recipe: _Recipe, initial_peers: Sequence[str]) -> None:
        self.servers[index].close()
        self.servers[index] = _started(recipe, initial_peers)

    def wait_ready(self, report: Callable[[ServerProcess], None] | None = None) -> None:
        """Wait until every launched server has announced itself; `report` gets each of them."""
        deadline = time.monotonic() + self._ready_timeout_seconds
        for server in self.servers:
            server.wait_ready(deadline)
            if report is not None:
                report(server)

    def kill(self, index: int) -> None:
        """End one server and its children without warning."""
        self.servers[index].kill()

    def stop(self) -> None:
        """Ask all servers to leave, ask again urgently, and kill the rest after the grace period."""
        try:
            self._launcher.shutdown()
            began = time.monotonic()
            for seconds in (HURRY_SECONDS, STOP_GRACE_SECONDS):
                for server in self.servers:
                    server.resume()
                    server.signal(signal.SIGTERM)
                for server in self.servers:
                    server.wait(max(0.0, began + seconds - time.monotonic()))
        finally:
            for server in self.servers:
                server.close()
            self._keys.close()
            self._folder.cleanup()


def _started(recipe: _Recipe, initial_peers: Sequence[str]) -> ServerProcess:
    joining = ["--initial-peers", *initial_peers] if initial_peers else []
    return ServerProcess([*recipe.arguments, *joining], layers=recipe.layers, prefix=recipe.place.prefix)
