"""Ctrl-C or SIGTERM ends a page and a report in any second of their lives, without a traceback."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MOMENTS = (0.0, 0.2, 0.8, 1.5, 2.5, 4.0)
"""Seconds since it hears them: it imports libraries, its page listens, it joins, the probe begins."""


@pytest.fixture
def silent_peer() -> Iterator[str]:
    """The address of a peer that takes connections and never says anything: joining goes on and on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield f"/ip4/127.0.0.1/tcp/{port}/p2p/12D3KooWKrxghex4d8r3ytG8GmgdenmZY35fKqY54GVYbd9LMeak"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["page", "report"])
def test_a_signal_in_any_second_of_the_start_ends_the_program_without_a_traceback(
    mode: str, number: signal.Signals, tmp_path: Path, silent_peer: str
):
    """A page that was stopped has ended as it should; a report that was stopped has failed."""
    flags = ["--once"] if mode == "report" else ["--port", "0"]
    command = [sys.executable, "-m", "p2pinfer.health", "--initial-peers", silent_peer, *flags]
    command += ["--data-folder", str(tmp_path), "--probe", str(tmp_path / "no-model.gguf")]
    outcomes = [stopped(command, after=seconds, number=number) for seconds in MOMENTS]

    assert [output for _, output in outcomes if "Traceback" in output or "Error" in output] == []
    assert {status for status, _ in outcomes[2:]} == {0 if mode == "page" else 128 + number}


def hears_signals(pid: int) -> bool:
    """True as soon as a program takes SIGTERM itself: Python has begun it. Only Linux tells."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return True
    caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def stopped(command: list[str], *, after: float, number: signal.Signals) -> tuple[int, str]:
    """Exit status and output of a program that gets a signal so many seconds after it hears them."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while not hears_signals(process.pid):
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(after)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, output
