"""A swarm on the WAN lab, with a client that works when it is asked: each of them on its own host."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.shared.host_process import HostProcess
from scripts.benchmarks.shared.hosts import Hosts
from scripts.benchmarks.shared.report import say
from scripts.lab import LabError, WanLab

CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
_READY_SECONDS = 120.0
_WORK_SECONDS = 1800.0


@contextmanager
def swarm_on_lab(
    store: LayerStore,
    peers: int,
    client: str,
    parameters: dict[str, Any],
    *,
    profile: str,
    seed: int,
    congestion: str | None = None,
    server_arguments: Sequence[str] = (),
    log: Path | None = None,
) -> Iterator[tuple[HostProcess, WanLab]]:
    """The servers, of one thread each, and a client; yields the client and the lab.

    `client` is its module; it gets `parameters`, and with them the store and addresses of the swarm.
    Raises LabUnavailableError where there can be no lab.
    """
    with ExitStack() as stack:
        hosts = stack.enter_context(Hosts(profile, seed=seed))
        assert hosts.lab is not None
        swarm = stack.enter_context(LocalSwarm())
        places = [hosts.server_place(f"peer-{number}") for number in range(1, peers + 1)]
        prefix = hosts.client_prefix("client")
        if congestion is not None:
            for host in (*(place.prefix for place in places), prefix):
                _set_congestion(host, congestion)
        say(f"starting {peers} peers and a client, each on a {profile} host")
        swarm.start(
            store.folder,
            split_layers(store.manifest.num_layers, peers),
            threads=1,
            server_arguments=server_arguments,
            places=places,
        )
        joining = {"store": str(store.folder), "initial_peers": swarm.initial_peers}
        process = stack.enter_context(HostProcess(client, joining | parameters, prefix=prefix, log=log))
        process.hear_next(_READY_SECONDS)
        yield process, hosts.lab


def ask(client: HostProcess, work: str, **parameters: Any) -> dict[str, Any]:
    """Have the client do one piece of work. Raises ChildError if the client ends instead."""
    client.tell(work=work, **parameters)
    return client.hear_next(_WORK_SECONDS)


def _set_congestion(prefix: tuple[str, ...], control: str) -> None:
    """Set the congestion control for every TCP connection that a host opens from now on."""
    done = subprocess.run(
        [*prefix, "sh", "-c", f'echo "$1" > {CONGESTION_CONTROL}', "sh", control],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise LabError(f"a host can't be told to use TCP {control}: {done.stderr.strip()}")
