"""A swarm of server processes: places, restarts, the end. A small program replaces the real server."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.local_swarm import swarm as local_swarm
from p2pinfer.local_swarm.swarm import LocalSwarm, Place
from p2pinfer.types import Span
from tests.local_swarm.waiting import ended, soon

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
    """Also the first server of a swarm, if others have fixed addresses."""
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
    with swarm_of_stand_ins(monkeypatch, tmp_path) as swarm:
        swarm.start("model", [Span(0, 1), Span(1, 2)])
        with pytest.raises(SwarmError, match="the first server of a swarm can't be restarted"):
            swarm.restart(0)
        assert swarm.restart(1).wait_ready(soon()) > 0


def test_a_paused_swarm_can_be_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The end doesn't wait for the grace period."""
    monkeypatch.setattr(local_swarm, "HURRY_SECONDS", 60.0)
    with swarm_of_stand_ins(monkeypatch, tmp_path) as swarm:
        swarm.start("model", [Span(0, 1)])
        swarm.servers[0].pause()
        began = time.monotonic()
    assert time.monotonic() - began < 30
    assert swarm.servers[0].returncode == -signal.SIGTERM
