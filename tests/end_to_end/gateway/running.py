"""A running `python -m p2pinfer.gateway`, as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self

import httpx

SECONDS = 120.0
END_SECONDS = 30.0


class GatewayProcess:
    """One gateway on a free port. Use it as `with`."""

    def __init__(self, *flags: str) -> None:
        """Without `--batches` it keeps none: the user's own aren't for tests."""
        batches = [] if "--batches" in flags else ["--no-batches"]
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "p2pinfer.gateway", "--port", "0", *flags, *batches],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines: list[str] = []
        while not (self.lines and self.lines[-1].startswith("the gateway is at ")):
            line = self.process.stdout.readline()
            assert line, f"it ended early: {self.lines}"
            self.lines.append(line)
        self.url = self.lines[-1].split()[4].rstrip(",")
        """With /v1."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def root(self) -> str:
        """Without /v1."""
        return self.url.removesuffix("/v1")

    def wait_ready(self) -> None:
        """Wait until it has a model."""
        deadline = time.monotonic() + SECONDS
        while httpx.get(f"{self.root}/healthz", timeout=SECONDS).status_code != 200:
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.1)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = httpx.get(f"{self.root}/metrics", timeout=SECONDS).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it by a signal; returns its exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(END_SECONDS)
        finally:
            self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines += self.process.stdout
