"""A process of the tests that takes and gives lines, such as one that forks others which are killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]


@contextmanager
def line_process(module: str) -> Iterator[tuple[IO[str], IO[str]]]:
    """Run `python -m MODULE` during the block: its standard input, whose end ends it, and its output."""
    with subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        try:
            yield process.stdin, process.stdout
            process.stdin.close()
        except BaseException:
            process.kill()
            raise
