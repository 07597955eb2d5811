"""Servers that give and fetch files of the small model: how tests start them, and what they look at."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.swarm import LOOPBACK, LocalSwarm, Place
from p2pinfer.model.layer_store.names import CONFIG_FILE, MANIFEST_FILE, layer_files
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.sharing.disk.shelf import fetched_folder
from p2pinfer.types import Span

NAME = "SmolLM2-135M-Instruct"
READY_SECONDS = 120.0  # on a busy machine
LEAVE_SECONDS = 60.0

POLICY = """\
version = 1
[when]
{when}
[signals]
parked = {{ file = "{folder}/parked" }}
poll_seconds = 0.1
[limits]
{limits}
"""


def launch(
    swarm: LocalSwarm,
    model: Path | str | None,
    layers: Span | None = None,
    *arguments: str,
    cache: Path | None = None,
    mbit_per_s: float | None = None,
    shares: bool = True,
    obeys_parked: bool = False,
    place: Place = LOOPBACK,
    program: str = "p2pinfer.server",
) -> ServerProcess:
    """Start a server that gives its files with these limits. It isn't ready when this returns.

    With `obeys_parked` it works while the file `parked` in its data folder says true.
    """
    limits = [] if shares else ["sharing = false"]
    limits += [] if mbit_per_s is None else [f"sharing = {{ mbit_per_s = {mbit_per_s} }}"]
    data = swarm.data_folder(len(swarm.servers))
    data.mkdir(parents=True)
    (data / "parked").write_text("true")
    when = "parked = true" if obeys_parked else ""
    (data / "policy.toml").write_text(POLICY.format(folder=data, when=when, limits="\n".join(limits)))
    swarm.launch(
        model,
        [layers],
        threads=1,
        server_arguments=[*arguments, *(() if cache is None else ("--cache-folder", str(cache)))],
        places=[place],
        program=program,
    )
    return swarm.servers[-1]


def ready(server: ServerProcess, seconds: float = READY_SECONDS) -> str:
    """Wait until a server is ready, and return what it said then."""
    server.wait_ready(time.monotonic() + seconds)
    return said(server, "ready:")


def said(server: ServerProcess, words: str, seconds: float = READY_SECONDS) -> str:
    """Wait for a line with these words."""
    return server.wait_said(words, time.monotonic() + seconds)


def until(condition: Callable[[], object], server: ServerProcess, seconds: float = READY_SECONDS) -> None:
    """Wait for what a server does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, server.lines
        assert server.returncode is None, server.lines
        time.sleep(0.02)


def fetched(cache: Path, store: LayerStore) -> Path:
    """Where a store is fetched to."""
    return fetched_folder(cache, store.manifest.hash)


def bytes_that_came(cache: Path, store: LayerStore) -> int:
    """Bytes of layers on disk, also of files that aren't complete."""
    layers = fetched(cache, store) / "layers"
    return sum(path.stat().st_blocks * 512 for path in layers.iterdir()) if layers.is_dir() else 0


def files_in(cache: Path, store: LayerStore) -> set[str]:
    """The files of a fetched store, without marks and locks."""
    folder = fetched(cache, store)
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in found if not name.startswith(".")}


def share_of(layers: Span) -> set[str]:
    """The files that a server with these layers needs."""
    return {MANIFEST_FILE, CONFIG_FILE, *layer_files(layers)}


def check_files(cache: Path, store: LayerStore, layers: Span) -> None:
    """These layers are whole and right, and nothing else is there."""
    assert files_in(cache, store) == share_of(layers)
    LayerStore.open(fetched(cache, store)).verify(layers)


def traffic_of(swarm: LocalSwarm, server: ServerProcess) -> tuple[int, int]:
    """Bytes that a server has exchanged in all, and bytes of files that it has given; when it has ended."""
    assert server.returncode is not None
    with Ledger.open(swarm.data_folder(swarm.servers.index(server)) / "ledger.sqlite") as ledger:
        return ledger.traffic_bytes(since=0.0), ledger.shared_bytes(since=0.0)


def run(program: str, *arguments: str, seconds: float = READY_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run a program of p2pinfer to its end."""
    command = [sys.executable, "-m", f"p2pinfer.{program}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def health(swarm: LocalSwarm, folder: Path) -> list[dict[str, Any]]:
    """The models of a swarm, as the health report shows them."""
    done = run(
        "health", "--once", "--json", "--initial-peers", *swarm.initial_peers, "--data-folder", str(folder)
    )
    models: list[dict[str, Any]] = json.loads(done.stdout)["models"]
    return models
