"""Server processes of the demo: started, watched, never left behind. Small programs stand in for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.local_swarm.processes import LocalSwarm, Place, ServerProcess
from p2pinfer.types import Span

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


def soon() -> float:
    """A deadline that a loaded machine meets too."""
    return time.monotonic() + 30


def ended(pid: int) -> bool:
    """True once the process is gone, or is only waiting to be reaped."""
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        psutil.Process(pid).wait(30)
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


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
    """The operator reads the server's words, not ours about them."""
    with running("print('no space left'); raise SystemExit(3)", tmp_path) as server:
        with pytest.raises(
            SwarmError, match=r"layers 0:10 ended with status 3 [^:]*; it said:\n    no space left"
        ):
            server.wait_ready(soon())


def test_a_server_that_hangs_is_reported_when_the_time_is_up(tmp_path: Path):
    """No wait without a limit."""
    with running("import signal; signal.pause()", tmp_path) as server:
        with pytest.raises(SwarmError, match="was still not being ready after"):
            server.wait_ready(time.monotonic())


def test_a_server_and_what_it_started_end_when_the_parent_is_killed(tmp_path: Path):
    """SIGKILL leaves the parent no time to clean up; the closing pipe tells the child."""
    (tmp_path / "stand_in.py").write_text(ANNOUNCES)
    parent_program = (
        "import time; from p2pinfer.types import Span\n"
        "from p2pinfer.local_swarm.processes import ServerProcess\n"
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


SERVES = """
import os, signal, subprocess, sys
me = sys.argv[sys.argv.index("--identity") + 1]
print("join this swarm: --initial-peers /ip4/127.0.0.1/tcp/1/p2p/A")
print("ready: ", me, *sys.argv[sys.argv.index("--listen"):], os.environ.get("PLACE", "nowhere"), flush=True)
signal.pause()
"""


@contextmanager
def swarm_of_stand_ins(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[LocalSwarm]:
    """A LocalSwarm whose servers are SERVES."""
    package = folder / "p2pinfer"
    package.mkdir()
    real = Path.cwd() / "p2pinfer"
    (package / "__init__.py").write_text(f"__path__.append({str(real)!r})\n")
    (package / "server.py").write_text(SERVES)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.chdir(folder)
    with LocalSwarm(ready_timeout_seconds=30) as swarm:
        yield swarm


def test_a_server_runs_at_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The prefix becomes the command; the server is told where to listen."""
    places = [Place(address="127.0.0.2", dht_port=4001, prefix=("env", "PLACE=lab")), Place()]
    with swarm_of_stand_ins(monkeypatch, tmp_path) as swarm:
        swarm.start("model", [Span(0, 1), Span(1, 2)], places=places)
        first, second = (server.lines[-1] for server in swarm.servers)

    assert "--listen 127.0.0.2:0 --dht-listen /ip4/127.0.0.2/tcp/4001" in first and first.endswith("lab")
    assert "--listen 127.0.0.1:0 --identity" in second and second.endswith("nowhere")
    assert swarm.fixed_addresses == [f"/ip4/127.0.0.2/tcp/4001/p2p/{swarm.peer_ids[0]}"]


def test_a_restarted_server_has_its_old_identity_and_joins_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Also the one that began the swarm, if others are where they were."""
    places = [Place(dht_port=4001), Place(dht_port=4002)]
    with swarm_of_stand_ins(monkeypatch, tmp_path) as swarm:
        swarm.start("model", [Span(0, 1), Span(1, 2)], places=places)
        before = swarm.servers[0]
        swarm.kill(0)
        swarm.restart(0)
        swarm.wait_ready()
        after = swarm.servers[0]

    assert ended(before.pid) and after.pid != before.pid
    assert after.lines[-1].split()[1] == before.lines[-1].split()[1]
    assert f"--initial-peers /ip4/127.0.0.1/tcp/4002/p2p/{swarm.peer_ids[1]}" in after.lines[-1]


def test_the_first_server_alone_cannot_be_restarted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """It would begin another swarm."""
    with swarm_of_stand_ins(monkeypatch, tmp_path) as swarm:
        swarm.start("model", [Span(0, 1), Span(1, 2)])
        with pytest.raises(SwarmError, match="the first server of a swarm can't be restarted"):
            swarm.restart(0)
        assert swarm.restart(1).wait_ready(soon()) > 0


def test_a_paused_server_is_stopped_until_it_is_resumed(tmp_path: Path):
    """With what it started in its group."""
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


def test_a_paused_swarm_can_be_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Nobody waits for the grace period."""
    with swarm_of_stand_ins(monkeypatch, tmp_path) as swarm:
        swarm.start("model", [Span(0, 1)])
        swarm.servers[0].pause()
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert swarm.servers[0].returncode == -signal.SIGTERM
