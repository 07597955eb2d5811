"""A swarm of real server processes on this machine, and the promise that none of them is left behind.

Used by the demo, the benchmarks and the end-to-end tests. Each server runs in a process group of its own,
so that Ctrl-C at the terminal reaches only the parent, and whatever a server starts ends with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.types import PeerId, Span

JOIN_PREFIX = "join this swarm:"
READY_PREFIX = "ready:"
LAST_LINES = 12
STOP_GRACE_SECONDS = 8.0
HURRY_SECONDS = 4.0
"""After which a server that is asked to leave, and still drains, is asked to leave at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server runs. The default is this machine's loopback."""

    address: str = "127.0.0.1"
    dht_port: int = 0
    """Of its libp2p; 0: any. With a fixed one it is found where it was after a restart."""
    prefix: tuple[str, ...] = ()
    """Put before its command: must become the command, as a program does that ends with exec."""


LOOPBACK = Place()


class ServerProcess:
    """One `python -m p2pinfer.server`, its output and its process group."""

    def __init__(self, arguments: Sequence[str], *, layers: Span, prefix: Sequence[str] = ()) -> None:
        self.layers = layers
        self.initial_peers: tuple[str, ...] = ()
        self.seconds_to_ready: float | None = None
        self._lines: deque[str] = deque(maxlen=200)
        self._news = threading.Condition()
        self._output_ended = False
        self._started_at = time.monotonic()
        parent_reads, self._alive_pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [
                    *prefix,
                    sys.executable,
                    "-u",
                    "-m",
                    "p2pinfer.local_swarm.child",
                    str(parent_reads),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=(parent_reads,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._alive_pipe)
            raise
        finally:
            os.close(parent_reads)
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id, which is its group's id too."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    @property
    def lines(self) -> list[str]:
        """The last lines that it printed, oldest first."""
        with self._news:
            return list(self._lines)

    def wait_joinable(self, deadline: float) -> tuple[str, ...]:
        """Return the addresses to join at. Raises SwarmError if it ends, or `deadline` passes, before."""
        self._wait_until(lambda: bool(self.initial_peers), "printing its address", deadline)
        return self.initial_peers

    def wait_ready(self, deadline: float) -> float:
        """Return the seconds from process start to announced. Raises SwarmError like `wait_joinable`."""
        self._wait_until(lambda: self.seconds_to_ready is not None, "being ready", deadline)
        assert self.seconds_to_ready is not None
        return self.seconds_to_ready

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server alone; harmless when it has ended."""
        self._process.send_signal(number)

    def pause(self) -> None:
        """Let the server and its group fall silent, as a closed lid would, until `resume`."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on as if nothing had been. Harmless if it wasn't paused, or has ended."""
        self._signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """End the server and everything it started at once, as a dead battery would."""
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    def wait(self, timeout_seconds: float) -> bool:
        """True if it has ended within that time."""
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Kill what is left and give every file descriptor back."""
        self.kill()
        if self._alive_pipe >= 0:
            os.close(self._alive_pipe)
            self._alive_pipe = -1
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        for raw_line in self._process.stdout:
            line = raw_line.rstrip()
            with self._news:
                self._lines.append(line)
                if line.startswith(JOIN_PREFIX):
                    self.initial_peers = tuple(line.partition("--initial-peers")[2].split())
                elif line.startswith(READY_PREFIX) and self.seconds_to_ready is None:
                    self.seconds_to_ready = time.monotonic() - self._started_at
                self._news.notify_all()
        with self._news:
            self._output_ended = True
            self._news.notify_all()

    def _wait_until(self, done: Callable[[], bool], what: str, deadline: float) -> None:
        with self._news:
            # An ended server's own children may hold its output open, so the exit status is looked at too.
            while not (done() or self._output_ended or time.monotonic() > deadline):
                self._news.wait(min(0.5, max(0.0, deadline - time.monotonic())))
                if self.returncode is not None and not self._output_ended:
                    self._news.wait(0.5)
                    break
            if done():
                return
            said = "".join(f"\n    {line}" for line in list(self._lines)[-LAST_LINES:]) or " nothing"
        if self._output_ended or self.returncode is not None:
            status = self._process.wait()
            problem = f"ended with status {status} before {what}"
        else:
            problem = f"was still not {what} after {time.monotonic() - self._started_at:.0f} s"
        raise SwarmError(f"the server of layers {self.layers} {problem}; it said:{said}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """What a server is started with, again too."""

    arguments: tuple[str, ...]
    layers: Span
    place: Place
    peer_id: PeerId

    @property
    def maddr(self) -> str | None:
        """Where others join the swarm through it, if that is known before it runs."""
        if not self.place.dht_port:
            return None
        return f"/ip4/{self.place.address}/tcp/{self.place.dht_port}/p2p/{self.peer_id}"


class LocalSwarm:
    """Server processes on this machine that together form one swarm. A context manager that ends them all.

    with LocalSwarm() as swarm:
        swarm.start(store_folder, split_layers(30, 3))
        ... from_pretrained(store_folder, initial_peers=swarm.initial_peers)
    """

    def __init__(self, *, ready_timeout_seconds: float = 120.0) -> None:
        self.servers: list[ServerProcess] = []
        self.initial_peers: list[str] = []
        self._recipes: list[_Recipe] = []
        self._ready_timeout_seconds = ready_timeout_seconds
        # Ctrl-C interrupts the main thread anywhere: in another one a process that is being started
        # still gets into `servers`, and so is ended.
        self._launcher = ThreadPoolExecutor(max_workers=1)
        self._launcher.submit(lambda: None).result()  # its thread runs before there is anything to lose
        self._folder = tempfile.TemporaryDirectory(prefix="p2pinfer-servers-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def peer_ids(self) -> list[PeerId]:
        """Of `servers`, in their order; a restarted server keeps its own."""
        return [recipe.peer_id for recipe in self._recipes]

    def data_folder(self, index: int) -> Path:
        """Where one server keeps its owner's files, over all its restarts."""
        return Path(self._folder.name) / str(index)

    @property
    def fixed_addresses(self) -> list[str]:
        """The multiaddresses of all servers that have a fixed `dht_port`."""
        return [recipe.maddr for recipe in self._recipes if recipe.maddr is not None]

    def start(
        self,
        model: Path | str,
        spans: Sequence[Span],
        *,
        threads: int | None = None,
        server_arguments: Sequence[str] = (),
        places: Sequence[Place] | None = None,
        report: Callable[[ServerProcess], None] | None = None,
    ) -> None:
        """Launch one server per span and wait until all are ready. Raises SwarmError with what one said."""
        self.launch(model, spans, threads=threads, server_arguments=server_arguments, places=places)
        self.wait_ready(report)

    def launch(
        self,
        model: Path | str,
        spans: Sequence[Span],
        *,
        threads: int | None = None,
        server_arguments: Sequence[str] = (),
        places: Sequence[Place] | None = None,
    ) -> None:
        """Launch one server per span, each at its place; return when all run, though not yet ready.

        The first server of a swarm prints the address that the others join at, so it is waited for.
        """
        for span, place in zip(spans, places or [LOOPBACK] * len(spans), strict=True):
            arguments = [
                "p2pinfer.server",
                str(model),
                "--layers",
                str(span),
                "--listen",
                f"{place.address}:0",
            ]
            if place.dht_port:
                arguments += ["--dht-listen", f"/ip4/{place.address}/tcp/{place.dht_port}"]
            key_file = Path(self._folder.name) / f"{len(self.servers)}.key"
            data_folder = self.data_folder(len(self.servers))
            # Only this machine is served, whose owner has started us: nobody has to be asked.
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
        """End a server, unless it has ended, and launch it again as the same peer. It isn't ready then.

        Raises SwarmError for the one that began the swarm unless others have a fixed `dht_port`: nobody
        knows then where the swarm can be joined.
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
        """Wait until every launched server has announced itself, and report each once it has."""
        deadline = time.monotonic() + self._ready_timeout_seconds
        for server in self.servers:
            server.wait_ready(deadline)
            if report is not None:
                report(server)

    def kill(self, index: int) -> None:
        """End one server without warning, with everything that it started."""
        self.servers[index].kill()

    def stop(self) -> None:
        """Ask all servers to leave, soon urgently, and kill those that haven't within the grace period."""
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
            self._folder.cleanup()


def _started(recipe: _Recipe, initial_peers: Sequence[str]) -> ServerProcess:
    joining = ["--initial-peers", *initial_peers] if initial_peers else []
    return ServerProcess([*recipe.arguments, *joining], layers=recipe.layers, prefix=recipe.place.prefix)
