"""A page and a report are stopped by Ctrl-C or SIGTERM in any second of their lives, and print no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NOBODY = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWKrxghex4d8r3ytG8GmgdenmZY35fKqY54GVYbd9LMeak"
MOMENTS = (0.15, 0.5, 1.0, 2.0, 3.5)
"""Seconds after the start: libraries are imported, the page listens, the swarm is joined, the probe begins."""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["page", "report"])
def test_a_signal_in_any_second_of_the_start_ends_the_program_without_a_traceback(
    mode: str, number: signal.Signals, tmp_path: Path
):
    """A page that was stopped has ended as it should; a report that was stopped has failed."""
    flags = ["--once"] if mode == "report" else ["--port", "0"]
    command = [sys.executable, "-m", "p2pinfer.health", "--initial-peers", NOBODY, *flags]
    command += ["--data-folder", str(tmp_path), "--probe", str(tmp_path / "no-model.gguf")]
    outcomes = [stopped(command, after=seconds, number=number) for seconds in MOMENTS]

    assert [output for _, output in outcomes if "Traceback" in output or "Error" in output] == []
    expected = {0, 128 + number} if mode == "page" else {128 + number}  # before flags are read, a page too
    assert {status for status, _ in outcomes} <= expected


def stopped(command: list[str], *, after: float, number: signal.Signals) -> tuple[int, str]:
    """Exit status and output of a program that gets a signal after some seconds."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        time.sleep(after)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, output
