"""A swarm of bench_reach: two bootstrap peers in public, which are its relays, and three servers at homes.

The servers get no flag that says where they are: they find out.
"""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.reach.places import settle, settle_in_public
from scripts.benchmarks.reach.plan import PEERS
from scripts.lab import LabHost, Link, WanLab

PORT = 31330
READY_SECONDS = 120.0
LEAVE_SECONDS = 8.0
_LISTEN = ("--listen", f"/ip4/0.0.0.0/tcp/{PORT}", f"/ip6/::/tcp/{PORT}")


class Members:
    """The processes of one swarm. A context manager that ends them.

    Raises SwarmError, with its last words, for a process that doesn't become ready.
    """

    def __init__(self, lab: WanLab, name: str, link: Link) -> None:
        """`name` begins the names of its hosts."""
        self.initial_peers: list[str] = []
        self.ready_seconds: list[float] = []
        self._lab, self._name, self._link = lab, name, link
        self._folder = tempfile.TemporaryDirectory(prefix="p2pinfer-reach-")
        self._processes: dict[str, ServerProcess] = {}
        self._doors: dict[str, LabHost] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def relays(self) -> list[str]:
        """The host names of the bootstrap peers."""
        return list(self._doors)

    def start(self, store: LayerStore, kind: str) -> None:
        """Start all of them, and return when every server is ready."""
        for number in range(2):
            name = f"{self._name}-door-{number}"
            self._doors[name] = settle_in_public(self._lab, name, self._link)
            self.open_door(name)
        shares = split_layers(store.manifest.num_layers, PEERS)
        for number, layers in enumerate(shares):
            name = f"{self._name}-server-{number}"
            host = settle(self._lab, name, self._link, kind)
            arguments = ["p2pinfer.server", str(store.folder), "--layers", str(layers)]
            arguments += ["--initial-peers", *self.initial_peers, "--threads", "1", "--accept"]
            arguments += ["--identity", self._file(f"{name}.key"), "--data-folder", self._file(name)]
            self._processes[name] = ServerProcess(arguments, layers=layers, prefix=host.prefix)
        deadline = time.monotonic() + READY_SECONDS
        servers = [process for name, process in self._processes.items() if name not in self._doors]
        self.ready_seconds = [server.wait_ready(deadline) for server in servers]

    def open_door(self, name: str) -> None:
        """Start a bootstrap peer, or start it again after `kill`."""
        arguments = ["p2pinfer.swarm", *_LISTEN, "--identity", self._file(f"{name}.key")]
        others = [maddr for maddr in self.initial_peers if self._doors[name].address not in maddr.split("/")]
        if others:
            arguments += ["--initial-peers", *others]
        process = ServerProcess(arguments, layers=None, prefix=self._doors[name].prefix)
        self._processes[name] = process
        said = process.wait_joinable(time.monotonic() + READY_SECONDS)
        # A bootstrap peer also prints the addresses that only its own machine and home know.
        public = {self._doors[name].address, self._doors[name].address6}
        for maddr in said:
            if public.intersection(maddr.split("/")) and maddr not in self.initial_peers:
                self.initial_peers.append(maddr)

    def kill(self, name: str) -> None:
        """End a process without warning, as a dead battery would."""
        self._processes[name].close()

    def last_words(self) -> dict[str, list[str]]:
        """The last lines that every process has printed, by host."""
        return {name: process.lines for name, process in self._processes.items()}

    def close(self) -> None:
        """Ask all of them to leave, and kill those that don't. Closing twice is harmless."""
        began = time.monotonic()
        try:
            for process in self._processes.values():
                process.signal(signal.SIGINT)
            for process in self._processes.values():
                process.wait(max(0.0, began + LEAVE_SECONDS - time.monotonic()))
        finally:
            for process in self._processes.values():
                process.close()
            self._folder.cleanup()

    def _file(self, name: str) -> str:
        return str(Path(self._folder.name) / name)
