"""One server process: started, watched, never left behind. Small programs replace the real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.local_swarm import server_process
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.types import Span
from tests.local_swarm.waiting import ended, soon

ANNOUNCES = """
import signal, subprocess, sys, time
helper = subprocess.Popen(["sleep", "600"])
print("join this swarm: --initial-peers /ip4/127.0.0.1/tcp/1/p2p/A /ip4/127.0.0.1/tcp/2/p2p/A")
print("ready: layers 0:10 of 30, peer …Q9xk12", helper.pid, flush=True)
signal.pause()
"""


@contextmanager
def running(program: str, folder: Path) -> Iterator[ServerProcess]:
    """A server process whose module is this program."""
    (folder / "stand_in.py").write_text(program)
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(Path.cwd()), before])
    try:
        server = ServerProcess(["stand_in"], layers=Span(0, 10))
    finally:
        os.environ["PYTHONPATH"] = before
    try:
        yield server
    finally:
        server.close()


def test_the_address_to_join_at_and_the_ready_line_are_read(tmp_path: Path):
    """Both come from what a server prints for its owner."""
    with running(ANNOUNCES, tmp_path) as server:
        assert server.wait_joinable(soon()) == ("/ip4/127.0.0.1/tcp/1/p2p/A", "/ip4/127.0.0.1/tcp/2/p2p/A")
        assert server.wait_ready(soon()) > 0


def test_closing_ends_the_server_and_what_it_started(tmp_path: Path):
    """A server's own children are in its process group."""
    with running(ANNOUNCES, tmp_path) as server:
        server.wait_ready(soon())
        helper = int(server.lines[-1].split()[-1])

    assert ended(server.pid)
    assert ended(helper)


def test_a_server_that_ends_early_is_reported_with_its_own_last_lines(tmp_path: Path):
    """The operator reads the server's own output."""
    with running("print('no space left'); raise SystemExit(3)", tmp_path) as server:
        with pytest.raises(
            SwarmError, match=r"layers 0:10 ended with status 3 [^:]*; its last output:\n    no space left"
        ):
            server.wait_ready(soon())


def test_when_a_server_has_ended_its_last_words_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """However late the thread comes that reads them."""
    may_read, read = threading.Event(), ServerProcess._read_output

    def read_late(server: ServerProcess) -> None:
        may_read.wait(30)
        read(server)

    monkeypatch.setattr(ServerProcess, "_read_output", read_late)
    monkeypatch.setattr(server_process, "LAST_WORDS_SECONDS", 30.0)
    with running("print('leaving')", tmp_path) as server:
        assert ended(server.pid)
        threading.Timer(0.05, may_read.set).start()
        assert server.wait(30.0)
        assert server.lines[-1] == "leaving"


def test_a_server_that_hangs_is_reported_when_the_time_is_up(tmp_path: Path):
    """No wait without a limit."""
    with running("import signal; signal.pause()", tmp_path) as server:
        with pytest.raises(SwarmError, match=r"took longer than \d+ s before it was ready"):
            server.wait_ready(time.monotonic())


def test_a_server_and_what_it_started_end_when_the_parent_is_killed(tmp_path: Path):
    """SIGKILL leaves the parent no time to clean up; the closing pipe tells the child."""
    (tmp_path / "stand_in.py").write_text(ANNOUNCES)
    parent_program = (
        "import time; from p2pinfer.types import Span\n"
        "from p2pinfer.local_swarm.server_process import ServerProcess\n"
        "server = ServerProcess(['stand_in'], layers=Span(0, 1)); server.wait_ready(time.monotonic() + 30)\n"
        "print(server.pid, server.lines[-1].split()[-1], flush=True); time.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])}
    with subprocess.Popen(
        [sys.executable, "-c", parent_program], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        server_pid, helper_pid = map(int, parent.stdout.readline().split())
        parent.send_signal(signal.SIGKILL)

    assert ended(server_pid)
    assert ended(helper_pid)


def test_a_paused_server_is_stopped_until_it_is_resumed(tmp_path: Path):
    """Its children in the group are stopped too."""
    with running(ANNOUNCES, tmp_path) as server:
        server.wait_ready(soon())
        group = [psutil.Process(server.pid), psutil.Process(int(server.lines[-1].split()[-1]))]
        server.pause()
        for process in group:
            while process.status() != psutil.STATUS_STOPPED:
                time.sleep(0.01)
        server.resume()
        for process in group:
            while process.status() == psutil.STATUS_STOPPED:
                time.sleep(0.01)
