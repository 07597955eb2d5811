"""The gateway as a process of its own, and what it costs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from p2pinfer.errors import SwarmError
from p2pinfer.local_swarm.server_process import ServerProcess
from scripts.benchmarks.shared.resident_memory import (
    children_peak_megabytes,
    megabytes,
    peak_megabytes,
)

_READY_SECONDS = 120.0
_READY = "the gateway is at"
_HEAVY = ("torch", "transformers")


class GatewayProcess:
    """`python -m p2pinfer.gateway` with one model. A context manager that ends it."""

    def __init__(self, store: Path, initial_peers: Sequence[str]) -> None:
        """Start it, and wait until it answers. Raises SwarmError."""
        arguments = ["--initial-peers", *initial_peers, "--model", str(store), "--port", "0", "--no-batches"]
        self._process = ServerProcess(["p2pinfer.gateway", *arguments], layers=None)
        try:
            line = self._process.wait_said(_READY, time.monotonic() + _READY_SECONDS)
            found = re.search(r":(\d+)/", line)
            if found is None:
                raise SwarmError(f"the gateway's address has no port: {line}")
            self.port = int(found[1])
        except BaseException:
            self._process.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        """What it has printed."""
        return self._process.lines

    def cpu_seconds(self) -> tuple[float, float]:
        """The CPU seconds of the process so far, and of its children: the libp2p daemon."""
        process = psutil.Process(self.pid)
        return cpu_seconds(process), sum(map(cpu_seconds, process.children(recursive=True)))

    def megabytes(self) -> float:
        """Its resident memory now."""
        return megabytes(self.pid)

    def peaks(self) -> dict[str, float]:
        """The most resident memory of the process, and of its children, in MB."""
        return {"own": peak_megabytes(self.pid), "children": children_peak_megabytes(self.pid)}

    def heavy_libraries(self) -> list[str]:
        """Which of the libraries that it should do without are mapped into its memory."""
        maps = Path(f"/proc/{self.pid}/maps").read_text()
        return [name for name in _HEAVY if f"/{name}/" in maps]


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of one process."""
    times = process.cpu_times()
    return float(times.user + times.system)
