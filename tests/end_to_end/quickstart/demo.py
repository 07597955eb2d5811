"""A run of scripts/quickstart's program, its output, its end, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

ROOT = Path(__file__).parents[3]
LONG_ENOUGH_SECONDS = 120


class Demo:
    """One run of the demo; a mark in the environment of its processes identifies them."""

    def __init__(self, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "p2pinfer.local_swarm", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"P2PINFER_TEST_MARK": self.mark, "PYTHONPATH": str(ROOT)},
            bufsize=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def read_until(self, done: Callable[[str], bool]) -> None:
        """Read the demo's output until it satisfies `done` or ends."""
        assert self.process.stdout is not None
        while not done(self.output):
            piece = self.process.stdout.read(4096)
            if not piece:
                return
            self.output += piece.decode(errors="replace")

    def finish(self) -> int:
        """Read the rest and return the exit status."""
        self.read_until(lambda output: False)
        return self.process.wait(LONG_ENOUGH_SECONDS)

    def left_behind(self) -> list[str]:
        """Command lines of the processes that the demo started, directly or not, and that still run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("P2PINFER_TEST_MARK") == self.mark:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found
