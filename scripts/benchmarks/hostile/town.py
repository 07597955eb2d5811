"""What is attacked: three servers with their default settings, a health page, and honest clients."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import re
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm, Place
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.swarm.swarm import Swarm
from scripts.benchmarks.hostile.figures import Sample
from scripts.benchmarks.hostile.honest import TOKENS
from scripts.benchmarks.join.watch import disk_bytes
from scripts.benchmarks.shared.host_process import HostProcess, Said
from scripts.benchmarks.shared.resident_memory import children_megabytes, megabytes

SERVERS = 3
READY_SECONDS = 120.0
ASK_SECONDS = 0.5
"""How often the page is asked, and memory and disk are looked at."""

_TUNNEL_ONLY = ("--listen", "none", "--dht-listen", "/ip4/127.0.0.1/tcp/0")
_ANSWER_SECONDS = 5.0
_VISITS = ("state", "events", "state", "receipts")
_HONEST = "scripts.benchmarks.hostile.honest"
_KEEPS_OUTPUT = 'exec "$@" > >(exec tee -a "$0")'
"""For bash: what a server says goes into a file too, so that its log can be measured."""


class HonestClient:
    """A client's process. Its events grow while it works."""

    def __init__(self, parameters: Said, log: Path | None) -> None:
        self.events: list[Said] = []
        self._news = threading.Condition()
        self.process = HostProcess(_HONEST, parameters, log=log, hear=self._hear)

    def wait(self, what: str, seconds: float, *, times: int = 1) -> Said | None:
        """Wait for an event of this kind, the first or a later one. None if the time is up, or it ended."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                found = [event for event in self.events if event["what"] == what]
                if len(found) >= times:
                    return found[times - 1]
                if self.process.returncode is not None or time.monotonic() > deadline:
                    return None
                self._news.wait(0.1)

    def heard(self) -> dict[str, int]:
        """The refusals that it has heard so far, by reason."""
        counted = [event["refusals"] for event in list(self.events) if event["what"] == "heard"]
        return counted[-1] if counted else {}

    def _hear(self, event: Said) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()


class Town:
    """All that is attacked in one round. A context manager: nothing of it is left for the next one."""

    def __init__(
        self, store: LayerStore, prompt: Sequence[int], logs: Path | None, *, is_tunnelled: bool = False
    ) -> None:
        """With `is_tunnelled` the servers have no port of their own for activations."""
        self.store, self.prompt = store, list(prompt)
        self._logs = logs
        self._server_arguments = _TUNNEL_ONLY if is_tunnelled else ()
        self.asked: list[dict[str, Any]] = []  # what the page was asked, and when; seconds: None if in vain
        self.samples: list[Sample] = []
        self.swarm = LocalSwarm(ready_timeout_seconds=READY_SECONDS)
        self._stack = ExitStack()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        with ExitStack() as otherwise:
            otherwise.callback(self._stack.close)
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._stack.enter_context(self.swarm)
            self._start()
            otherwise.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        logs = [self._log(f"server-{number}") for number in range(SERVERS)]
        self._server_logs = logs
        self.swarm.start(
            self.store.folder,
            split_layers(self.store.manifest.num_layers, SERVERS),
            threads=1,
            server_arguments=self._server_arguments,
            places=[Place(prefix=("bash", "-c", _KEEPS_OUTPUT, str(log))) for log in logs],
        )
        arguments = ["--initial-peers", *self.swarm.initial_peers, "--port", "0"]
        self.page = ServerProcess(
            ["p2pinfer.health", *arguments, "--data-folder", str(self._folder / "page")],
            layers=None,
            prefix=("bash", "-c", _KEEPS_OUTPUT, str(self._log("page"))),
        )
        self._stack.callback(self.page.close)
        line = self.page.wait_said("the page is at", time.monotonic() + READY_SECONDS)
        found = re.search(r":(\d+)/", line)
        if found is None:
            raise SwarmError(f"the page's address has no port: {line}")
        self.page_port = int(found[1])
        self.records = asyncio.run(self._read_records())
        for look in (self._ask_page, self._sample):
            thread = threading.Thread(target=look, daemon=True)
            thread.start()
            self._stack.callback(thread.join)
        self._stack.callback(self._over.set)

    def client(self, name: str, tokens: int = TOKENS) -> HonestClient:
        """Start the process of an honest client, which waits for `go`. It ends with the round."""
        parameters = {
            "store": str(self.store.folder),
            "initial_peers": self.swarm.initial_peers,
            "prompt": self.prompt,
            "tokens": tokens,
        }
        client = HonestClient(parameters, self._log(name))
        self._stack.callback(client.process.close)
        return client

    def victims(self) -> dict[str, Any]:
        """What an attacker knows: whatever anybody can read in the swarm."""
        return {
            "model": self.store.manifest.hash,
            "hidden_size": self.store.manifest.hidden_size,
            "initial_peers": self.swarm.initial_peers,
            "records": self.records,
            "page_port": self.page_port,
            "store": str(self.store.folder),
        }

    @property
    def losses(self) -> list[str]:
        """Who has ended, and what it said last."""
        processes = {f"server {number}": server for number, server in enumerate(self.swarm.servers)}
        return [
            f"{name} ended with status {process.returncode}: {' | '.join(process.lines[-3:])}"
            for name, process in (processes | {"page": self.page}).items()
            if process.returncode is not None
        ]

    def as_json(self) -> dict[str, Any]:
        """What was watched."""
        return {
            "samples": [asdict(sample) for sample in self.samples],
            "page": list(self.asked),
            "losses": self.losses,
        }

    def _log(self, name: str) -> Path:
        return (self._logs or self._folder) / f"{name}.log"

    async def _read_records(self) -> list[str]:
        async with Swarm.join(self.swarm.initial_peers, Identity.ephemeral(), client_only=True) as swarm:
            deadline = time.monotonic() + READY_SECONDS
            while True:
                found = await swarm.servers(self.store.manifest.hash)
                if len(found) >= SERVERS:
                    return [one.record.hex() for one in found]
                if time.monotonic() > deadline:
                    raise SwarmError(f"{len(found)} of {SERVERS} servers are in the swarm")
                await asyncio.sleep(ASK_SECONDS)

    def _ask_page(self) -> None:
        """Ask the page again and again, over new connections, as visitors come."""
        for what in itertools.cycle(_VISITS):
            if self._over.wait(ASK_SECONDS):
                return
            at = time.monotonic()
            seconds = time.monotonic() - at if self._visit(what) else None
            self.asked.append({"at": at, "what": what, "seconds": seconds})

    def _visit(self, what: str) -> bool:
        """True if the page answers a visitor who reads it, listens to it, or hands in receipts."""
        connection = http.client.HTTPConnection("127.0.0.1", self.page_port, timeout=_ANSWER_SECONDS)
        try:
            if what == "receipts":  # these can't be read: the page says so, if it looks at them
                connection.request("POST", "/api/v1/receipts", b"{}\n")
                return connection.getresponse().status in (200, 400)
            connection.request("GET", f"/api/v1/{what}")
            answer = connection.getresponse()
            return answer.status == 200 and bool(answer.readline())
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _sample(self) -> None:
        while not self._over.wait(ASK_SECONDS):
            try:
                servers = sum(map(_with_children, (server.pid for server in self.swarm.servers)))
                page = _with_children(self.page.pid)
                data = sum(disk_bytes(self.swarm.data_folder(number)) for number in range(SERVERS))
                log = sum(path.stat().st_size for path in self._server_logs if path.exists())
            except (psutil.Error, OSError):  # somebody has ended, or a file went meanwhile
                continue
            at = time.monotonic()
            self.samples.append(
                Sample(at=at, servers_megabytes=servers, page_megabytes=page, data_bytes=data, log_bytes=log)
            )


def _with_children(pid: int) -> float:
    return megabytes(pid) + children_megabytes(pid)
